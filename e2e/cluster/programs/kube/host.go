//go:build !oldest

// What a host of the newest Kubernetes runs. The oldest has none here: it is
// there for what its API server says, and its kubelet begins in another way.
package main

import (
	"context"

	"github.com/spf13/cobra"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

func init() {
	programs["kube-proxy"] = proxy.NewProxyCommand
	programs["kubelet"] = func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) }
}
