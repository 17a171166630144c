// SPDX-License-Identifier: Apache-2.0

package services

import (
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/tools/record"
)

// GetEventRecorder is what controller-runtime 0.24 asks of a provider beside GetEventRecorderFor.
func (r *recorderProvider) GetEventRecorder(name string) events.EventRecorder {
	// A broadcaster's recorders are of this kind.
	recorder := r.GetEventRecorderFor(name).(record.EventRecorderLogger)
	return record.NewEventRecorderAdapter(recorder)
}
