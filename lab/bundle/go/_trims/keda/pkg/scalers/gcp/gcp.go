// SPDX-License-Identifier: Apache-2.0

// Package gcp is what the Prometheus scaler needs where Prometheus does not run in GCP.
package gcp

import (
	"errors"
	"net/http"

	kedav1alpha1 "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	"github.com/kedacore/keda/v2/pkg/scalers/scalersconfig"
)

// GcpScopeMonitoringRead is the scope that the Prometheus scaler asks for.
const GcpScopeMonitoringRead = "https://www.googleapis.com/auth/monitoring.read"

// ErrGoogleApplicationCrendentialsNotFound means that a trigger names no credentials of GCP.
var ErrGoogleApplicationCrendentialsNotFound = errors.New("no credentials of GCP")

// AuthMetadata has the trigger's fields that name credentials of GCP.
type AuthMetadata struct {
	Credentials            string `keda:"name=credentials, order=triggerMetadata;resolvedEnv, optional"`
	CredentialsFromEnvFile string `keda:"name=credentialsFromEnvFile, order=triggerMetadata;resolvedEnv, optional"`
}

// GetGCPOAuth2HTTPTransport refuses credentials of GCP, and says that there are none otherwise.
func GetGCPOAuth2HTTPTransport(config *scalersconfig.ScalerConfig, _ http.RoundTripper, _ ...string) (http.RoundTripper, error) {
	if config.PodIdentity.Provider == kedav1alpha1.PodIdentityProviderGCP ||
		config.TriggerMetadata["credentialsFromEnv"] != "" ||
		config.TriggerMetadata["credentialsFromEnvFile"] != "" {
		return nil, errors.New("this build of KEDA has no identities of GCP")
	}
	return nil, ErrGoogleApplicationCrendentialsNotFound
}
