// Prog is what runs in the containers of the tests.
package main

import (
	"fmt"
	"os"
	"strings"
)

// Each word is a command with its argument behind a colon.
func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	for _, a := range args {
		name, arg, _ := strings.Cut(a, ":")
		f, ok := commands[name]
		if !ok {
			fmt.Println("prog: unknown", name)
			return 99
		}
		if code := f(arg); code != 0 {
			return code
		}
	}
	return 0
}

var commands = map[string]func(string) int{
	"echo": func(s string) int { fmt.Println(s); return 0 },
	"exit": func(s string) int {
		var n int
		fmt.Sscan(s, &n)
		os.Exit(n)
		return 0
	},
	"cat": func(s string) int {
		data, err := os.ReadFile(s)
		if err != nil {
			fmt.Println(err)
			return 0
		}
		os.Stdout.Write(data)
		return 0
	},
	"env": func(string) int {
		for _, e := range os.Environ() {
			fmt.Println(e)
		}
		return 0
	},
}
