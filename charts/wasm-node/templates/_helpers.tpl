{{/* The chart's name, or what replaces it. */}}
{{- define "wasm-node.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The name of which all names are made; 50 leaves room for what follows. */}}
{{- define "wasm-node.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "wasm-node.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "wasm-node.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* What selects a component's pods; takes (list . COMPONENT). */}}
{{- define "wasm-node.selector" -}}
{{- $root := first . -}}
app.kubernetes.io/name: {{ include "wasm-node.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ last . }}
{{- end }}

{{/* Labels of a component's objects; takes (list . COMPONENT). */}}
{{- define "wasm-node.labels" -}}
{{- $root := first . -}}
{{ include "wasm-node.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "wasm-node.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/* Labels that a Linux host must have; takes the wanted ones. */}}
{{- define "wasm-node.linux" -}}
{{- toYaml (merge (dict "kubernetes.io/os" "linux") .) }}
{{- end }}

{{/* Which hosts get a wasm node: the same for agent and runtime. */}}
{{- define "wasm-node.hosts" -}}
nodeSelector:
  {{- include "wasm-node.linux" .Values.nodeSelector | nindent 2 }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Seconds that all wasm pods of a host get when the runtime's pod ends. */}}
{{- define "wasm-node.shutdownSeconds" -}}
{{- $sum := 0 -}}
{{- range .Values.runtime.shutdownGracePeriodByPodPriority -}}
{{- $sum = add $sum (int64 .shutdownGracePeriodSeconds) -}}
{{- end -}}
{{- $sum -}}
{{- end }}

{{/* The same by priority, as the runtime's flag has it. */}}
{{- define "wasm-node.shutdownGroups" -}}
{{- $groups := list -}}
{{- $seen := dict -}}
{{- range .Values.runtime.shutdownGracePeriodByPodPriority -}}
{{- $priority := int64 .priority | toString -}}
{{- if hasKey $seen $priority }}{{ fail (printf "runtime.shutdownGracePeriodByPodPriority: priority %s is there twice" $priority) }}{{ end -}}
{{- $_ := set $seen $priority true -}}
{{- $groups = append $groups (printf "%d=%d" (int64 .priority) (int64 .shutdownGracePeriodSeconds)) -}}
{{- end -}}
{{- join "," $groups -}}
{{- end }}

{{/* A directory of the hosts; takes (list . NAME PARENT). */}}
{{- define "wasm-node.hostPath" -}}
{{- $root := index . 0 -}}
{{- index $root.Values.hostPaths (index . 1) | default (printf "%s/%s" (index . 2) (include "wasm-node.fullname" $root)) }}
{{- end }}

{{/* The hosts' directories that agent and runtime share, as volumes. */}}
{{- define "wasm-node.hostVolumes" -}}
- name: state
  hostPath: {path: {{ include "wasm-node.hostPath" (list . "state" "/var/lib") }}, type: DirectoryOrCreate}
- name: run
  hostPath: {path: {{ include "wasm-node.hostPath" (list . "run" "/run") }}, type: DirectoryOrCreate}
- name: logs
  hostPath: {path: {{ include "wasm-node.hostPath" (list . "logs" "/var/log") }}, type: DirectoryOrCreate}
{{- end }}

{{/* Where they are inside: always the programs' own defaults. */}}
{{- define "wasm-node.hostMounts" -}}
- {name: state, mountPath: /var/lib/wasm-node}
- {name: run, mountPath: /run/wasm-node}
- {name: logs, mountPath: /var/log/wasm-node}
{{- end }}

{{/* The walls that every container of the release stands behind. */}}
{{- define "wasm-node.walls" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* The user of whatever needs no root. NB: it owns the state on the hosts. */}}
{{- define "wasm-node.user" -}}
runAsNonRoot: true
runAsUser: 64000
runAsGroup: 64000
{{- end }}

{{/* A service account; takes (list . COMPONENT). */}}
{{- define "wasm-node.serviceAccount" -}}
{{- $root := first . -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "wasm-node.fullname" $root }}-{{ last . }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "wasm-node.labels" . | nindent 4 }}
  {{- with $root.Values.serviceAccount.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
# Whose pods need a token say so themselves.
automountServiceAccountToken: false
{{- end }}
