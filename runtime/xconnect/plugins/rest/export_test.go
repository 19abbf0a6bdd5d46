package rest

// Relay is what the provider gets for the consumer's bytes when they come in
// pieces of a size: the requests of one connection, until their end or a
// refusal.
func Relay(in []byte, piece int, client, role string) ([]byte, error) {
	s := newSession(&served{id: identity{client, role}})
	var all, held []byte
	for len(in) > 0 {
		n := min(piece, len(in))
		held = append(held, in[:n]...)
		in = in[n:]
		out, used, err := s.Up(nil, held)
		if err != nil {
			return all, err
		}
		all = append(all, out...)
		held = held[used:]
		for s.State().Full {
			if out, used, err = s.Up(nil, held); err != nil {
				return all, err
			}
			all = append(all, out...)
			held = held[used:]
		}
		if s.State().Awaits { // a provider that stays with HTTP
			if err := s.Down([]byte("HTTP/1.1 200 OK\r\n\r\n")); err != nil {
				return all, err
			}
			in = append(held[:len(held):len(held)], in...)
			held = nil
		}
	}
	return all, s.End(held)
}

// Upper is Up of one connection.
func Upper(client, role string) func(dst, in []byte) ([]byte, int, error) {
	return newSession(&served{id: identity{client, role}}).Up
}
