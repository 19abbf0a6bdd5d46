package sandbox

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// A container's output goes through a buffer of consoleMax bytes. When it is
// full the container waits for consoleWait; then what it writes is dropped, and
// the log says how much. So a slow log cannot stop a container, and a container
// cannot fill the memory.
const (
	consoleMax  = 256 << 10
	consoleWait = 100 * time.Millisecond
	consoleEnd  = 2 * time.Second // for the rest, when the container has ended
)

// console copies from a terminal to a writer. Its zero value is one that was
// never started.
type console struct {
	master *os.File
	out    io.Writer

	mu      sync.Mutex // guards what follows
	buf     []byte
	dropped int64
	ended   bool
	more    chan struct{} // something to write, or the end
	room    chan struct{} // something was written
	read    chan struct{} // closed when all is read
	written chan struct{} // closed when all is written
}

func (c *console) start(master *os.File, out io.Writer) {
	c.master, c.out = master, out
	if out == nil {
		c.out = io.Discard
	}
	c.more, c.room = make(chan struct{}, 1), make(chan struct{}, 1)
	c.read, c.written = make(chan struct{}), make(chan struct{})
	go c.reader()
	go c.writer()
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

func (c *console) reader() {
	defer close(c.read)
	chunk := make([]byte, 4096) // what the kernel gives at once
	for {
		n, err := c.master.Read(chunk)
		if n > 0 {
			c.put(chunk[:n])
		}
		if err != nil { // EIO when nobody has the terminal open any more
			break
		}
	}
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	poke(c.more)
}

// put adds output to the buffer, or drops it when there is no room for long.
func (c *console) put(p []byte) {
	var expired <-chan time.Time
	for {
		c.mu.Lock()
		full := len(c.buf)+len(p) > consoleMax
		// Once something was dropped there is no waiting until there is room.
		if !full {
			if c.dropped > 0 {
				c.buf = fmt.Appendf(c.buf, "\n[%d bytes of output are missing here: the log was too slow]\n", c.dropped)
				c.dropped = 0
			}
			c.buf = append(c.buf, p...)
		} else if c.dropped > 0 {
			c.dropped += int64(len(p))
			full = false
		}
		c.mu.Unlock()
		if !full {
			poke(c.more)
			return
		}
		if expired == nil {
			expired = time.After(consoleWait)
		}
		select {
		case <-c.room:
		case <-expired:
			c.mu.Lock()
			c.dropped += int64(len(p))
			c.mu.Unlock()
			return
		}
	}
}

// writer writes until the end. After an error of the writer the rest is
// dropped, but still taken from the container.
func (c *console) writer() {
	defer close(c.written)
	var err error
	for {
		c.mu.Lock()
		p, ended := c.buf, c.ended
		c.buf = nil
		if ended && c.dropped > 0 {
			p = fmt.Appendf(p, "\n[%d bytes of output are missing here: the log was too slow]\n", c.dropped)
			c.dropped = 0
		}
		c.mu.Unlock()
		poke(c.room)
		if len(p) > 0 && err == nil {
			_, err = c.out.Write(p)
		}
		if len(p) == 0 {
			if ended {
				return
			}
			<-c.more
		}
	}
}

// finish waits for the rest of the output, not for ever: a process that has
// left the container may still have the terminal, and the writer may hang.
func (c *console) finish() {
	if c.master == nil {
		return
	}
	limit := time.After(consoleEnd)
	c.master.SetReadDeadline(time.Now().Add(consoleEnd / 2))
	<-c.read
	select {
	case <-c.written:
	case <-limit:
	}
	c.master.Close()
}
