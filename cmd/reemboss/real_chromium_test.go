package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// realBrowser is a Chromium of its own, told what to do over two pipes in its
// DevTools protocol (https://chromedevtools.github.io/devtools-protocol/): one
// JSON text after the other, each ended by a zero byte. It has no network, and
// it ends with the test, or when the test's end of the pipe does.
type realBrowser struct {
	ctx context.Context // how long it may take altogether
	to  *os.File

	mu      sync.Mutex
	last    int // id of the last call
	replies map[int]chan reply
	tabs    map[string]*realTab // by session
	ended   chan struct{}
}

type reply struct {
	Result json.RawMessage
	Error  *struct{ Message string }
}

// realTab is a page in the browser and everything that it asked for and said since it was made.
type realTab struct {
	*realBrowser
	t       *testing.T
	session string
	loaded  chan string // loads that came to their end

	requests   []string // URLs, guarded by mu
	complaints []string // warnings, errors and exceptions, guarded by mu
}

func startBrowser(t *testing.T) *realBrowser {
	t.Helper()
	profile, err := os.MkdirTemp("", "chromium")
	if err != nil {
		t.Fatal(err)
	}
	theirEnd, toThem := osPipe(t)
	fromThem, theirVoice := osPipe(t)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	cmd := exec.Command("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run", "--disable-breakpad",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions", "--host-resolver-rules=MAP * ~NOTFOUND",
		"--user-data-dir="+profile, "--remote-debugging-pipe", "about:blank")
	b := &realBrowser{ctx: ctx, to: toThem, replies: map[int]chan reply{}, tabs: map[string]*realTab{}, ended: make(chan struct{})}
	cmd.ExtraFiles = []*os.File{theirEnd, theirVoice}                                                                         // 3 and 4
	cmd.Env = append(os.Environ(), "HOME="+profile, "TMPDIR="+profile, "XDG_CONFIG_HOME="+profile, "XDG_CACHE_HOME="+profile) // nothing of it is left
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = theirEnd.Close(), theirVoice.Close()
	go b.listen(fromThem)
	t.Cleanup(func() {
		_ = b.send(0, "", "Browser.close", nil)
		_ = toThem.Close()
		late := time.AfterFunc(20*time.Second, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }) // it and all whom it started
		_ = cmd.Wait()
		if late.Stop() {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // whom it left behind
		}
		<-b.ended
		cancel()
		_ = os.RemoveAll(profile)
	})
	return b
}

func osPipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return r, w
}

// listen hands on what the browser says until it ends.
func (b *realBrowser) listen(from *os.File) {
	defer close(b.ended)
	defer from.Close()
	in := bufio.NewReader(from)
	for {
		text, err := in.ReadBytes(0)
		if err != nil {
			return
		}
		var m struct {
			ID        int
			Method    string
			SessionID string
			Params    json.RawMessage
			reply
		}
		if json.Unmarshal(bytes.TrimRight(text, "\x00"), &m) != nil {
			continue
		}
		b.mu.Lock()
		if answer := b.replies[m.ID]; answer != nil && m.Method == "" {
			answer <- m.reply
			delete(b.replies, m.ID)
		} else if tab := b.tabs[m.SessionID]; tab != nil {
			tab.happened(m.Method, m.Params)
		}
		b.mu.Unlock()
	}
}

// happened keeps what a test asks for. mu is held.
func (p *realTab) happened(method string, params []byte) {
	var e struct {
		URL            string
		Request        struct{ URL string }
		Type           string
		Name, LoaderID string
		Args           []struct {
			Value       any
			Description string
		}
		Entry            struct{ Level, Text, URL string }
		ExceptionDetails struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	_ = json.Unmarshal(params, &e)
	switch method {
	case "Page.lifecycleEvent":
		if e.Name == "load" {
			select {
			case p.loaded <- e.LoaderID:
			default: // nobody opens anything any more
			}
		}
	case "Network.requestWillBeSent":
		p.requests = append(p.requests, e.Request.URL)
	case "Network.webSocketCreated", "Network.webTransportCreated":
		p.requests = append(p.requests, e.URL)
	case "Runtime.consoleAPICalled":
		if e.Type == "warning" || e.Type == "error" || e.Type == "assert" {
			p.complaints = append(p.complaints, fmt.Sprint("console: ", e.Type, " ", e.Args))
		}
	case "Runtime.exceptionThrown":
		p.complaints = append(p.complaints, fmt.Sprint("exception: ", e.ExceptionDetails.Text, " ", e.ExceptionDetails.Exception.Description))
	case "Log.entryAdded":
		if e.Entry.Level == "warning" || e.Entry.Level == "error" {
			p.complaints = append(p.complaints, fmt.Sprint("log: ", e.Entry.Level, " ", e.Entry.Text, " ", e.Entry.URL))
		}
	}
}

// send writes one call; 0 is the id of one whose reply nobody waits for.
func (b *realBrowser) send(id int, session, method string, params any) error {
	call := map[string]any{"id": id, "method": method}
	if session != "" {
		call["sessionId"] = session
	}
	if params != nil {
		call["params"] = params
	}
	text, err := json.Marshal(call)
	if err != nil {
		return err
	}
	_, err = b.to.Write(append(text, 0))
	return err
}

// call does something and waits until it is done. into may be nil.
func (b *realBrowser) call(t *testing.T, session, method string, params map[string]any, into any) {
	t.Helper()
	answer := make(chan reply, 1)
	b.mu.Lock()
	b.last++
	id := b.last
	b.replies[id] = answer
	b.mu.Unlock()
	if err := b.send(id, session, method, params); err != nil {
		t.Fatalf("chromium does not listen to %s: %v", method, err)
	}
	select {
	case r := <-answer:
		if r.Error != nil {
			t.Fatalf("%s: %s", method, r.Error.Message)
		}
		if into == nil {
			return
		}
		if err := json.Unmarshal(r.Result, into); err != nil {
			t.Fatalf("%s: %v", method, err)
		}
	case <-b.ended:
		t.Fatalf("chromium ended before it did %s", method)
	case <-b.ctx.Done():
		t.Fatalf("chromium has not done %s: %v", method, b.ctx.Err())
	}
}

// screen is what a page is shown on.
type screen struct {
	width, height int
	phone         bool
}

var desk = screen{1280, 900, false}

// open loads a file of this disk to its end, every request and every word of it recorded from the first on.
func (b *realBrowser) open(t *testing.T, path string, on screen) *realTab {
	t.Helper()
	var target struct{ TargetID string }
	b.call(t, "", "Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call(t, "", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	p := &realTab{realBrowser: b, t: t, session: attached.SessionID, loaded: make(chan string, 16)}
	b.mu.Lock()
	b.tabs[p.session] = p
	b.mu.Unlock()
	p.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": on.width, "height": on.height, "deviceScaleFactor": 1, "mobile": on.phone}, nil)
	for _, domain := range []string{"Network", "Runtime", "Log", "Page"} {
		p.call(domain+".enable", nil, nil)
	}
	p.call("Page.setLifecycleEventsEnabled", map[string]any{"enabled": true}, nil)
	var going struct{ LoaderID, ErrorText string }
	p.call("Page.navigate", map[string]any{"url": fileURL(path)}, &going)
	if going.ErrorText != "" {
		t.Fatalf("chromium cannot load %s: %s", path, going.ErrorText)
	}
	for {
		select {
		case which := <-p.loaded:
			if which == going.LoaderID {
				p.drawn()
				return p
			}
		case <-b.ended:
			t.Fatal("chromium ended before the page was loaded")
		case <-b.ctx.Done():
			t.Fatalf("the page is not loaded: %v", b.ctx.Err())
		}
	}
}

func fileURL(path string) string {
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(path)}).String()
}

// call does something with the page.
func (p *realTab) call(method string, params map[string]any, into any) {
	p.t.Helper()
	p.realBrowser.call(p.t, p.session, method, params, into)
}

// drawn waits until everything that was done is on the screen.
func (p *realTab) drawn() {
	p.t.Helper()
	seen[bool](p, `new Promise(function (done) { requestAnimationFrame(function () { requestAnimationFrame(function () { done(true); }); }); })`)
}

// seen is the value of an expression in the page; a promise is waited for.
func seen[T any](p *realTab, expression string) T {
	p.t.Helper()
	var r struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	p.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &r)
	if r.ExceptionDetails != nil {
		p.t.Fatalf("%s: %s %s", expression, r.ExceptionDetails.Text, r.ExceptionDetails.Exception.Description)
	}
	var value T
	if err := json.Unmarshal(r.Result.Value, &value); err != nil {
		p.t.Fatalf("%s gives %s: %v", expression, r.Result.Value, err)
	}
	return value
}

// click brings an element (an expression) into view and clicks its middle, as a hand would.
func (p *realTab) click(element string) {
	p.t.Helper()
	at := seen[struct{ X, Y float64 }](p, `(function (e) {
		if (!e) throw new Error("there is no such element");
		e.scrollIntoView({block: "center", inline: "center", behavior: "instant"});
		var r = e.getBoundingClientRect(), x = r.left + r.width / 2, y = r.top + r.height / 2;
		if (!e.checkVisibility() || !e.contains(document.elementFromPoint(x, y))) throw new Error("it is not to be seen");
		return {X: x, Y: y};
	})(`+element+`)`)
	p.drawn()
	for _, kind := range []string{"mousePressed", "mouseReleased"} {
		p.call("Input.dispatchMouseEvent", map[string]any{"type": kind, "x": at.X, "y": at.Y, "button": "left", "clickCount": 1}, nil)
	}
	p.drawn()
}

// press presses a key on whatever has the focus; the command is what an editor makes of it, if anything.
func (p *realTab) press(key string, code int, text string, command ...string) {
	p.t.Helper()
	what := map[string]any{"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text}
	if len(command) > 0 {
		what["commands"] = command
	}
	p.call("Input.dispatchKeyEvent", what, nil)
	p.call("Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": key, "code": key, "windowsVirtualKeyCode": code}, nil)
	p.drawn()
}

// enter types a text over whatever stands in a field.
func (p *realTab) enter(field, text string) {
	p.t.Helper()
	p.click(field)
	if p.press("a", 'A', "", "selectAll"); text == "" {
		p.press("Backspace", 8, "", "deleteBackward")
		return
	}
	p.call("Input.insertText", map[string]any{"text": text}, nil)
	p.drawn()
}

// asked gives the URLs that were asked for, said what the page complained of.
func (p *realTab) asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.requests...)
}

func (p *realTab) complained() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.complaints, "\n")
}

// printed is the text of the page on paper.
func (p *realTab) printed() string {
	p.t.Helper()
	var pdf struct{ Data []byte }
	p.call("Page.printToPDF", map[string]any{"printBackground": true, "preferCSSPageSize": false}, &pdf)
	return string(pipe(p.t, pdf.Data, "pdftotext", "-raw", "-enc", "UTF-8", "-", "-"))
}
