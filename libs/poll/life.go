package poll

import "slices"

// moves is the life of a poll: from each state, the states it may go to. There is no way back from a
// close, and a count is never repeated: what voters were told stays true.
var moves = map[State][]State{
	Draft:     {Open},
	Open:      {Paused, Closed},
	Paused:    {Open, Closed},
	Closed:    {Counted},
	Counted:   {Published},
	Published: {},
}

// States are all states, in the order of a poll's life.
var States = []State{Draft, Open, Paused, Closed, Counted, Published}

// CanMove reports whether a poll may go from one state to another. Staying is not a move.
func CanMove(from, to State) bool { return slices.Contains(moves[from], to) }

// Moves returns the states a poll may go to, the usual one first.
func Moves(from State) []State { return slices.Clone(moves[from]) }
