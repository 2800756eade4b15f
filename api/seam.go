package api

func (a *API) dryRun(*admission) {}
func openAPI([]route, string) []byte { return []byte("{}") }
