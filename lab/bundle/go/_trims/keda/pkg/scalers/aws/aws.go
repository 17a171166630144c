// SPDX-License-Identifier: Apache-2.0

// Package aws is what the Prometheus scaler needs where Prometheus does not run in AWS.
package aws

import (
	"errors"
	"net/http"

	kedav1alpha1 "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	"github.com/kedacore/keda/v2/pkg/scalers/scalersconfig"
)

// NewSigV4RoundTripper refuses a pod identity of AWS, and is nil for all others.
func NewSigV4RoundTripper(config *scalersconfig.ScalerConfig, _ string) (http.RoundTripper, error) {
	switch config.PodIdentity.Provider {
	case kedav1alpha1.PodIdentityProviderAws, kedav1alpha1.PodIdentityProviderAwsEKS:
		return nil, errors.New("this build of KEDA has no identities of AWS")
	}
	return nil, nil
}
