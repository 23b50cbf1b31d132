package store

import (
	"fmt"
	"sync"

	"github.com/sirupsen/logrus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// zapBridge takes the log of the embedded server: errors become warnings here, warnings debug messages; the rest is
// dropped. It keeps what was fatal, which etcd tells by its log only.
type zapBridge struct {
	log *logrus.Entry

	fatal chan struct{} // closed at the first fatal message

	mu    sync.Mutex
	last  string
	muted bool
}

func newZapBridge(log *logrus.Entry) *zapBridge {
	return &zapBridge{log: log, fatal: make(chan struct{})}
}

// logger makes etcd's logger. What is fatal ends the goroutine instead of the process.
func (z *zapBridge) logger() *zap.Logger {
	return zap.New(zapCore{bridge: z},
		zap.WithFatalHook(zapcore.WriteThenGoexit), zap.WithPanicHook(zapcore.WriteThenGoexit))
}

// mute drops what comes from now on: a server that is closed complains about it.
func (z *zapBridge) mute() {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.muted = true
}

func (z *zapBridge) isMuted() bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.muted
}

func (z *zapBridge) died(text string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.last == "" {
		close(z.fatal)
	}
	z.last = text
}

// worst is the last message that was fatal.
func (z *zapBridge) worst() string {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.last
}

// zapCore is a zapcore.Core: the bridge and the fields given so far.
type zapCore struct {
	bridge *zapBridge
	fields []zapcore.Field
}

func (c zapCore) Enabled(l zapcore.Level) bool { return l >= zapcore.WarnLevel }

func (c zapCore) With(fields []zapcore.Field) zapcore.Core {
	return zapCore{c.bridge, append(c.fields[:len(c.fields):len(c.fields)], fields...)}
}

func (c zapCore) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return checked.AddCore(e, c)
	}
	return checked
}

func (c zapCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	if c.bridge.isMuted() {
		return nil
	}
	text := e.Message
	values := zapcore.NewMapObjectEncoder()
	for _, f := range c.With(fields).(zapCore).fields {
		f.AddTo(values)
	}
	if cause, ok := values.Fields["error"]; ok {
		text = fmt.Sprintf("%s: %v", text, cause)
	}
	if e.Level >= zapcore.DPanicLevel {
		c.bridge.died(text)
	}
	log := c.bridge.log.WithField("error", text)
	if e.Level >= zapcore.ErrorLevel {
		log.Warn("embedded etcd")
	} else {
		log.Debug("embedded etcd")
	}
	return nil
}

func (c zapCore) Sync() error { return nil }
