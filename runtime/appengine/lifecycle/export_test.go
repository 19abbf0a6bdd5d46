package lifecycle

import (
	"fmt"
	"slices"
)

// Moves is what the tests of the tables see: every move of a table, and how
// often it was made. A move that is not in the table is counted as well.
type Moves struct {
	Listed map[string]bool
	Made   map[string]int
}

func newMoves() *Moves { return &Moves{map[string]bool{}, map[string]int{}} }

// Strange returns the moves that were made and are not in the table, and those
// that are in the table and were never made.
func (m *Moves) Strange() (unlisted, unmade []string) {
	for move := range m.Made {
		if !m.Listed[move] {
			unlisted = append(unlisted, move)
		}
	}
	for move := range m.Listed {
		if m.Made[move] == 0 {
			unmade = append(unmade, move)
		}
	}
	slices.Sort(unlisted)
	slices.Sort(unmade)
	return unlisted, unmade
}

// MachineMoves returns the table of the containers.
func MachineMoves() *Moves {
	m := newMoves()
	for _, row := range moves {
		for _, to := range row.to {
			m.Listed[fmt.Sprint(row.from, " ", row.on, " ", to)] = true
		}
	}
	return m
}

// Watch counts the moves that a machine makes.
func (m *Machine) Watch(seen *Moves) {
	m.watch = func(from phase, on input, to phase) { seen.Made[fmt.Sprint(from, " ", on, " ", to)]++ }
}

// UpdateMoves returns the table of an update.
func UpdateMoves() *Moves {
	m := newMoves()
	for _, row := range updateMoves {
		for _, from := range row.from {
			for _, to := range row.to {
				m.Listed[fmt.Sprint(from, " ", row.on, " ", to)] = true
			}
		}
	}
	return m
}

// Watch counts the moves that an update makes.
func (u *Update) Watch(seen *Moves) {
	u.watch = func(from updatePhase, on updateInput, to updatePhase) {
		seen.Made[fmt.Sprint(from, " ", on, " ", to)]++
	}
}
