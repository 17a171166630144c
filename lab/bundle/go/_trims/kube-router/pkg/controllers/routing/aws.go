// SPDX-License-Identifier: Apache-2.0

package routing

import "k8s.io/klog/v2"

// disableSourceDestinationCheck would ask EC2 to let a host's pods send; this build has no EC2 client.
func (nrc *NetworkRoutingController) disableSourceDestinationCheck() {
	klog.Error("this build of kube-router cannot change hosts in AWS: leave --disable-source-dest-check=false")
}
