package process

// readOpenFiles sees nothing: darwin shows other processes' descriptors through libproc only.
func readOpenFiles(int, bool) openFiles { return openFiles{} }
