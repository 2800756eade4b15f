package api

func openAPI([]route, string) []byte { return []byte("{}") }
