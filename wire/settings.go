package wire

import "argosy.dev/argosy/cluster"

// SettingsPatch is PATCH /v1/settings. What is left out stays.
type SettingsPatch struct {
	Servers     *int                 `json:"servers,omitempty"`      // How many machines are to hold the store: 1, 3 or 5; 0: as many as there are, up to 5.
	ConfigWrite *cluster.ConfigWrite `json:"config_write,omitempty"` // Whose localhost may write the users' configuration: all, servers or none.
	Settle      *bool                `json:"settle,omitempty"`       // True ends the time after a restore in which nothing is stopped that the snapshot does not know.
}
