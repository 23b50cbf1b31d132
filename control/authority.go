package control

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Token is what a token is asked for.
type Token struct {
	Name string        // the host's, may be empty
	TTL  time.Duration // of its certificate; 0: the default
	Host string        // name or ID of a host that needs a new certificate and key; empty: a further host
	CA   string        `json:"-"` // the authority with its key, PEM, where the agent's host does not hold it; empty: it does
}

// Format implements fmt.Formatter: the authority's key is never printed.
func (t Token) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "{%s %s %s (secret)}", t.Name, t.TTL, t.Host)
}

// AuthoritySource is what a Source does with the environment's authority. Where ca is asked for it is the authority with its key,
// PEM, and may be empty on a host that holds it.
type AuthoritySource interface {
	// Authority gives the authority with its key, in PEM; AuthorityExported notes that it is in a file, and with remove
	// takes the key away from this host; AddAuthority gives it to this host.
	Authority() (string, error)
	AuthorityExported(remove bool) error
	AddAuthority(ca string) error
	// ReplaceAuthority makes a new one, RetireAuthority ends the belief in those before.
	ReplaceAuthority(ctx context.Context, ca string) error
	RetireAuthority(ctx context.Context, ca string, force bool) error
	// RenewCertificates gives every host a new certificate and says how many there were.
	RenewCertificates(ctx context.Context, ca string) (string, error)
}

func handleAuthority(mux *http.ServeMux, src AuthoritySource) {
	handle := func(name string, do func(r *http.Request) (string, error)) {
		mux.HandleFunc("POST /v1/ca/"+name, func(w http.ResponseWriter, r *http.Request) {
			text, err := do(r)
			answer(w, text, err)
		})
	}
	handle("export", func(*http.Request) (string, error) { return src.Authority() })
	handle("exported", func(r *http.Request) (string, error) { return "", src.AuthorityExported(r.FormValue("remove") != "") })
	handle("import", func(r *http.Request) (string, error) { return "", src.AddAuthority(r.FormValue("ca")) })
	handle("replace", func(r *http.Request) (string, error) { return "", src.ReplaceAuthority(r.Context(), r.FormValue("ca")) })
	handle("retire", func(r *http.Request) (string, error) {
		return "", src.RetireAuthority(r.Context(), r.FormValue("ca"), r.FormValue("force") != "")
	})
	handle("renew", func(r *http.Request) (string, error) { return src.RenewCertificates(r.Context(), r.FormValue("ca")) })
}

// Token asks for a token.
func (c *Client) Token(ctx context.Context, want Token) (token string, err error) {
	err = c.do(ctx, http.MethodPost, "token", url.Values{"name": {want.Name}, "ttl": {want.TTL.String()}, "host": {want.Host}, "ca": {want.CA}}, &token)
	return token, err
}

// Authority asks for the environment's authority with its key, in PEM.
func (c *Client) Authority(ctx context.Context) (bundle string, err error) {
	return c.authority(ctx, "export", nil)
}

// AuthorityExported tells that the authority is in a file now, and with remove takes its key away from the host.
func (c *Client) AuthorityExported(ctx context.Context, remove bool) error {
	_, err := c.authority(ctx, "exported", flag(url.Values{}, "remove", remove))
	return err
}

// AddAuthority gives the host the authority, as it was exported.
func (c *Client) AddAuthority(ctx context.Context, ca string) error {
	_, err := c.authority(ctx, "import", url.Values{"ca": {ca}})
	return err
}

// ReplaceAuthority asks for a new authority.
func (c *Client) ReplaceAuthority(ctx context.Context, ca string) error {
	_, err := c.authority(ctx, "replace", url.Values{"ca": {ca}})
	return err
}

// RetireAuthority ends the belief in the authorities before the present one.
func (c *Client) RetireAuthority(ctx context.Context, ca string, force bool) error {
	_, err := c.authority(ctx, "retire", flag(url.Values{"ca": {ca}}, "force", force))
	return err
}

// RenewCertificates asks for new certificates of all hosts.
func (c *Client) RenewCertificates(ctx context.Context, ca string) (string, error) {
	return c.authority(ctx, "renew", url.Values{"ca": {ca}})
}

func (c *Client) authority(ctx context.Context, what string, form url.Values) (text string, err error) {
	err = c.do(ctx, http.MethodPost, "ca/"+what, form, &text)
	return text, err
}

func flag(form url.Values, name string, set bool) url.Values {
	if set {
		form.Set(name, "yes")
	}
	return form
}
