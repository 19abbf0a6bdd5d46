package unix_test

import (
	"io"
	"net"
	"sync"
	"testing"

	plugin "github.com/pvkit/pvkit/runtime/xconnect/plugins/unix"
	"github.com/pvkit/pvkit/runtime/xconnect/xconnecttest"
)

// BenchmarkConnect is a connection, one byte there and back, and the end.
func BenchmarkConnect(b *testing.B) {
	p := xconnecttest.New(b, plugin.Plugin{Loops: xconnecttest.Loops(b)})
	p.Serve("unix", func(c *net.UnixConn) { io.Copy(c, c) })
	p.Start()
	path := p.Consumer.Path(p.Link.Target)
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			buf := []byte("x")
			for range b.N/16 + 1 {
				c, err := net.Dial("unix", path)
				if err != nil {
					b.Error(err)
					return
				}
				c.Write(buf)
				io.ReadFull(c, buf)
				c.Close()
			}
		})
	}
	wg.Wait()
}
