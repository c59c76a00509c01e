package proxy

var helpers map[string]func() error
