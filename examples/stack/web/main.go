// Command web counts its visitors in PostgreSQL and in Redis. It speaks to both in their own protocols, through their Unix
// sockets, with a connection for each request: it goes on when one of them was restarted.
//
//	GET /        counts, and answers "postgres 3, redis 3"
//	GET /ready   answers 200 when both databases do, else 503 with the reason
//
// It listens on 127.0.0.1 at $PORT, works in the directory with .pg and .redis, and leaves in good order when it is sent SIGTERM.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

var (
	db    = postgres{socket: ".pg/.s.PGSQL.5432", user: "app", database: "postgres"}
	cache = redis{socket: ".redis/sock"}
)

// patience is for one conversation with a database.
const patience = 10 * time.Second

func main() {
	// hob has the time of every line already.
	log.SetFlags(0)
	log.SetOutput(os.Stdout)
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "web:", err)
		os.Exit(1)
	}
}

// serve answers until SIGTERM or SIGINT.
func serve() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if _, err := db.query("CREATE TABLE IF NOT EXISTS visits (page text PRIMARY KEY, n bigint NOT NULL)"); err != nil {
		return err
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", os.Getenv("PORT")))
	if err != nil {
		return err
	}
	log.Printf("listening on http://%s", l.Addr())
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", answer(visit))
	mux.HandleFunc("GET /ready", answer(ready))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: patience}
	left := make(chan error, 1)
	go func() {
		<-ctx.Done()
		log.Print("leaving")
		grace, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		left <- server.Shutdown(grace)
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-left
}

// answer makes a handler of what gives a text or a reason why not.
func answer(f func() (string, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		text, err := f()
		if err != nil {
			log.Printf("%s %s: %v", r.Method, r.URL.Path, err)
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		log.Printf("%s %s: %s", r.Method, r.URL.Path, text)
		fmt.Fprintln(w, text)
	}
}

// visit counts one.
func visit() (string, error) {
	inPostgres, err := db.query("INSERT INTO visits VALUES ('/', 1) ON CONFLICT (page) DO UPDATE SET n = visits.n + 1 RETURNING n")
	if err != nil {
		return "", err
	}
	inRedis, err := cache.do("INCR", "visits:/")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("postgres %s, redis %s", inPostgres, inRedis), nil
}

func ready() (string, error) {
	if _, err := db.query("SELECT 1"); err != nil {
		return "", err
	}
	if _, err := cache.do("PING"); err != nil {
		return "", err
	}
	return "ready", nil
}
