// Package history keeps what happened to units: wishes of people, placements of the leader, changes of state,
// each as one wire.Event with a number that grows over restarts. Events lie on disk as JSON lines in a few
// rotated, bounded files; a line that a crash tore is dropped. The Recorder finds the events in a store.View's
// picture. It decides nothing and nobody waits for it: without its files everything runs on.
package history
