package main

import (
	"context"
	"time"

	"argosy.dev/argosy/cluster"
	"argosy.dev/argosy/cmd/argosy/internal/show"
	"argosy.dev/argosy/judge"
)

// Bounds of what is asked about units that have finished.
const (
	maxWordsUnits = 8               // Units that are asked for their words.
	wordsLines    = 200             // Lines of a run that are looked through.
	wordsShown    = 5               // …and of those to standard error, the last that are shown.
	wordsPatience = 2 * time.Second // For all of them: a note is not worth a wait.
)

// wordsStream has no lines on runtimes that do not keep the streams apart (journald).
const wordsStream = "stderr"

// lastWords are what units that finished with success wrote to standard error: a pipeline ends with the success of its
// last command, whatever became of the others, and then these words are all that is known of it.
func lastWords(ctx context.Context, d door, o *order, out outcome) []show.Words {
	if o.goal != judge.GoalStart || out.end != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, wordsPatience)
	defer cancel()
	var all []show.Words
	asked := 0
	for _, an := range out.met {
		if an.State != cluster.FinishedOK || an.Status == nil || asked == maxWordsUnits {
			continue
		}
		asked++
		w := show.Words{Unit: an.Unit}
		err := d.Journal(ctx, an.Unit, journalQuery{Lines: wordsLines, Invocation: an.Status.Invocation}, func(l cluster.Line) error {
			if l.Stream == wordsStream {
				w.Lines = append(w.Lines, l.Text)
			}
			return nil
		})
		if err != nil || len(w.Lines) == 0 {
			continue // It is well, and argosy journal would tell why its lines cannot be had.
		}
		w.More = max(0, len(w.Lines)-wordsShown)
		w.Lines = w.Lines[w.More:]
		all = append(all, w)
	}
	return all
}

// keepWords puts the words into the verdict for programs.
func keepWords(v *judge.Verdict, all []show.Words) {
	for _, w := range all {
		for i := range v.Instances {
			if v.Instances[i].Unit == w.Unit {
				v.Instances[i].LogTail = w.Lines
			}
		}
	}
}
