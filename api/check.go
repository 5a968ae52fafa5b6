package api

import "time"

// Check is what a cloud that was restored from a backup looks like, beside what
// the hosts report.
type Check struct {
	Held        bool         `json:"held" doc:"It was restored and not yet accepted: nothing is changed, and hosts are told nothing."`
	Since       *time.Time   `json:"since,omitempty" doc:"When it was restored."`
	Heard       []string     `json:"heard" doc:"Names of the hosts that have reported since."`
	Silent      []string     `json:"silent" doc:"Names of the hosts that have not."`
	Differences []Difference `json:"differences" doc:"Where hosts have something else than the backup says."`
}

// Difference is one instance about which a backup and the hosts do not agree.
type Difference struct {
	Instance string `json:"instance" doc:"ID of the instance."`
	Name     string `json:"name,omitempty" doc:"Its name, where the backup has it."`
	Host     string `json:"host" doc:"Name of the host."`
	Found    string `json:"found" doc:"What differs, in a sentence."`
	Accepted string `json:"accepted" doc:"What becomes of it when the cloud is accepted."`
}
