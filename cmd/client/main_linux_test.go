package client

import (
	"os"
	"testing"
)

// bridgeEnv makes the test binary a process that joins its stdin and stdout to descriptor 3.
const bridgeEnv = "CLIENT_TEST_BRIDGE"

func TestMain(m *testing.M) {
	if os.Getenv(bridgeEnv) != "" {
		os.Exit(playBridge())
	}
	os.Exit(m.Run())
}
