// SPDX-License-Identifier: Apache-2.0

// Package azure is what the Prometheus scaler needs where Prometheus does not run in Azure.
package azure

import (
	"errors"
	"net/http"

	"github.com/go-logr/logr"

	kedav1alpha1 "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
)

// Parameters under which a TriggerAuthentication's service principal is handed on.
const (
	ServicePrincipalAuthKey                      = "azureServicePrincipal"
	ServicePrincipalTenantIDKey                  = "azureServicePrincipalTenantId"
	ServicePrincipalClientIDKey                  = "azureServicePrincipalClientId"
	ServicePrincipalCloudKey                     = "azureServicePrincipalCloud"
	ServicePrincipalActiveDirectoryEndpointKey   = "azureServicePrincipalActiveDirectoryEndpoint"
	ServicePrincipalClientSecretKey              = "azureServicePrincipalClientSecret"
	ServicePrincipalClientCertificateKey         = "azureServicePrincipalClientCertificate"
	ServicePrincipalClientCertificatePasswordKey = "azureServicePrincipalClientCertificatePassword"
)

// TryAndGetAzureManagedPrometheusHTTPRoundTripper refuses a pod identity of Azure, and is nil for all others.
func TryAndGetAzureManagedPrometheusHTTPRoundTripper(_ logr.Logger, podIdentity kedav1alpha1.AuthPodIdentity, _ map[string]string) (http.RoundTripper, error) {
	if podIdentity.Provider == kedav1alpha1.PodIdentityProviderAzureWorkload {
		return nil, errors.New("this build of KEDA has no identities of Azure")
	}
	return nil, nil
}
