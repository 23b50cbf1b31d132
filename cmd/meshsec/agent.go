package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/plugin"
	"github.com/meshsec/meshsec/settings"
)

// agent is the process: the sockets that answer from its first moment on, and behind them the node, as soon as there is one.
type agent struct {
	set     settings.Settings
	paths   paths
	log     *logrus.Entry
	plugin  *plugin.Server
	metrics *metrics
	started time.Time

	node    atomic.Pointer[node]
	problem atomic.Pointer[string] // why there is no node
	refused atomic.Pointer[string] // the error of the last attempt at one
}

// runAgent runs until ctx ends. setErr is what is wrong with the settings; it is then what every call is answered with.
func runAgent(ctx context.Context, set settings.Settings, setErr error, p paths, log *logrus.Entry) error {
	log.WithFields(logrus.Fields{"version": version, "environment": set.Environment}).Info("meshsec starts")
	// The packet path allocates nothing, and the rest is small: a tighter collector keeps the agent below its etcd.
	debug.SetGCPercent(50)
	a := &agent{set: set, paths: p, log: log, started: time.Now()}
	a.say("starting")
	a.metrics = newMetrics(a)
	a.metrics.registry.MustRegister(serviceMetrics{a})
	a.plugin = plugin.New(p.plugin, log, plugin.Options{Scope: set.Scope, Observe: a.metrics.observe})

	// Docker dials half a second after the start, and nothing may hold that up.
	if err := a.plugin.Listen(); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.plugin.Serve(ctx) })
	if err := a.listenControl(ctx, g); err != nil {
		setErr = errors.Join(setErr, err)
	} else {
		a.offerCommand()
	}
	g.Go(func() error { return a.keepLink(ctx) })
	if setErr == nil && set.Listen != "" {
		g.Go(func() error {
			if err := a.metrics.serve(ctx, set.Listen, a); err != nil {
				log.WithError(err).Warn("no metrics")
			}
			return nil
		})
	}
	g.Go(func() error { return a.keepNode(ctx, setErr) })
	err := g.Wait()
	log.WithField("took", time.Since(a.started).Round(time.Second)).Info("meshsec ends")
	return err
}

// restartPause is the least time between the starts of two processes, of which the first has failed.
const restartPause = 10 * time.Second

// listenControl starts the control socket. A second agent on a host finds it taken.
func (a *agent) listenControl(ctx context.Context, g *errgroup.Group) error {
	l, err := control.Listen(a.paths.control())
	if err != nil {
		return err
	}
	g.Go(func() error { return control.Serve(ctx, l, a) })
	return nil
}

// say keeps why there is no node, for the status.
func (a *agent) say(why string) { a.problem.Store(&why) }

// keepNode starts the node, again and again with growing pauses as long as it fails, and runs it.
func (a *agent) keepNode(ctx context.Context, setErr error) error {
	if setErr != nil {
		a.refuse(setErr)
		<-ctx.Done()
		return nil
	}
	for pause := time.Second; ; pause = min(2*pause, 15*time.Second) {
		n, err := startNode(ctx, a.set, a.paths, a.log, a.starting)
		if err == nil {
			a.node.Store(n)
			a.plugin.SetBackend(n.driver, n.ipam)
			a.log.WithFields(logrus.Fields{"host": n.id.HostID, "addr": n.id.Router}).Info("serving containers")
			err = n.run(ctx)
			if ctx.Err() != nil || err == nil {
				return err
			}
			if errors.Is(err, errMoved) {
				a.log.WithError(err).Info("starting anew with the present one")
				a.node.Store(nil)
				continue
			}
			// A part that must never end has ended. A new process finds everything in place and is sure to be whole. It
			// starts no sooner than after restartPause: dockerd makes none.
			err = fmt.Errorf("restart needed: %w", err)
			a.node.Store(nil)
			a.refuse(err)
			select {
			case <-ctx.Done():
			case <-time.After(restartPause - time.Since(a.started)):
			}
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		a.refuse(err)
		if errors.Is(err, errSetting) {
			<-ctx.Done()
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

func (a *agent) starting(why string) {
	if last := a.refused.Load(); last != nil {
		a.say(*last + "; trying again") // which is all that this attempt may come to
	} else {
		a.say("starting: " + why)
	}
	a.plugin.SetStarting(why)
}

// refuse answers every call of Docker with err from now on.
func (a *agent) refuse(err error) {
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	if last := a.refused.Swap(&text); last == nil || *last != text { // each attempt may fail alike
		a.log.WithField("error", text).Error("can't serve containers")
	}
	a.say(text)
	a.plugin.SetError(err)
}

// keepLink keeps the link by which dockerd finds the managed plugin under its plain name.
func (a *agent) keepLink(ctx context.Context) error {
	if !a.paths.managed {
		return nil
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("plain-name link: %w", err)
	}
	id, err := plugin.PluginID(f)
	_ = f.Close()
	if err != nil || id == "" {
		a.log.WithError(err).Warn("no plain-name link: use meshsec/plugin:latest as the driver's name")
		return nil
	}
	link := plugin.NewLink(a.paths.run, id)
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		if err := link.Make(); err != nil {
			a.log.WithError(err).Warn("no plain-name link")
		}
		select {
		case <-ctx.Done():
			return link.Remove()
		case <-tick.C:
		}
	}
}
