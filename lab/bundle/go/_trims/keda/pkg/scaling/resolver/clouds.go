// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"context"
	"errors"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	corev1listers "k8s.io/client-go/listers/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kedav1alpha1 "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
)

var errNoClouds = errors.New("this build of KEDA reads no secrets from clouds: use a Kubernetes Secret")

// AwsSecretManagerHandler refuses.
type AwsSecretManagerHandler struct{}

// NewAwsSecretManagerHandler returns a handler that refuses.
func NewAwsSecretManagerHandler(*kedav1alpha1.AwsSecretManager) *AwsSecretManagerHandler {
	return &AwsSecretManagerHandler{}
}

// Initialize refuses.
func (*AwsSecretManagerHandler) Initialize(context.Context, client.Client, logr.Logger, string, corev1listers.SecretLister, *corev1.PodSpec) error {
	return errNoClouds
}

// Read refuses.
func (*AwsSecretManagerHandler) Read(context.Context, logr.Logger, string, string, string, string) (string, error) {
	return "", errNoClouds
}

// Stop has nothing to stop.
func (*AwsSecretManagerHandler) Stop() {}

// AzureKeyVaultHandler refuses.
type AzureKeyVaultHandler struct{}

// NewAzureKeyVaultHandler returns a handler that refuses.
func NewAzureKeyVaultHandler(*kedav1alpha1.AzureKeyVault) *AzureKeyVaultHandler {
	return &AzureKeyVaultHandler{}
}

// Initialize refuses.
func (*AzureKeyVaultHandler) Initialize(context.Context, client.Client, logr.Logger, string, corev1listers.SecretLister) error {
	return errNoClouds
}

// Read refuses.
func (*AzureKeyVaultHandler) Read(context.Context, string, string) (string, error) {
	return "", errNoClouds
}

// GCPSecretManagerHandler refuses.
type GCPSecretManagerHandler struct{}

// NewGCPSecretManagerHandler returns a handler that refuses.
func NewGCPSecretManagerHandler(*kedav1alpha1.GCPSecretManager) *GCPSecretManagerHandler {
	return &GCPSecretManagerHandler{}
}

// Initialize refuses.
func (*GCPSecretManagerHandler) Initialize(context.Context, client.Client, logr.Logger, string, corev1listers.SecretLister) error {
	return errNoClouds
}

// Read refuses.
func (*GCPSecretManagerHandler) Read(context.Context, string, string) (string, error) {
	return "", errNoClouds
}
