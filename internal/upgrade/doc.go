// Package upgrade has a running daemon become another version of itself: the new program is tried, then executed in this very
// process, with open descriptors and a state that it finds again. The pid, the locks, the sockets and the children stay. It never
// knows what the descriptors and the state mean.
package upgrade
