// SPDX-License-Identifier: Apache-2.0

package scalers

// externalMetricType is the kind of source that scalers give the HPA; upstream has it in a removed file.
const externalMetricType = "External"
