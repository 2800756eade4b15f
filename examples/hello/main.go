// Command hello is the service of the examples: it says hello on a port, and tells in its log who asked.
package main

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"time"
)

func main() {
	port := flag.Int("port", 8100, "port to listen on")
	flag.Parse()
	handler := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello from %s\n", os.Getenv("ARGOSY_UNIT"))
		fmt.Println(r.Method, r.URL.Path, "from", r.RemoteAddr)
	}
	server := http.Server{Addr: fmt.Sprintf("127.0.0.1:%d", *port), Handler: http.HandlerFunc(handler), ReadHeaderTimeout: 5 * time.Second}
	fmt.Println("listening on", server.Addr)
	if err := server.ListenAndServe(); err != nil {
		fmt.Fprintln(os.Stderr, "hello:", err)
		os.Exit(1)
	}
}
