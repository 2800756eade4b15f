module argosy.dev/argosy

go 1.26.0
