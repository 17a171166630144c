{{/* Labels of a component: (list CONTEXT COMPONENT NAME). */}}
{{- define "labels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ index . 2 }}
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/part-of: cartesia
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{- end }}

{{/* Those by which its pods are found. */}}
{{- define "selector" -}}
app.kubernetes.io/name: {{ index . 2 }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* An image of the release: (list CONTEXT NAME). A name with a digest needs no tag. */}}
{{- define "image" -}}
{{- $root := index . 0 -}}
{{ $root.Values.infra.imageRegistry }}/{{ index . 1 }}{{ if not (contains "@" (index . 1)) }}:{{ $root.Values.release.releaseTag }}{{ end }}
{{- end }}

{{/* What the pods of one release have in common. */}}
{{- define "pod" -}}
serviceAccountName: {{ .Values.infra.serviceAccount }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "container" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* A key of api-key-secret as an environment variable: (list NAME). */}}
{{- define "key" -}}
- name: {{ . }}
  valueFrom:
    secretKeyRef: {name: api-key-secret, key: {{ . }}}
{{- end }}
