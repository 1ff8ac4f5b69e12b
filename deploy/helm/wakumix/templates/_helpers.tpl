{{- define "wakumix.fullname" -}}
{{- if contains "wakumix" .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-wakumix{{ end }}
{{- end }}

{{- define "wakumix.image" -}}
{{ .Values.image.repository }}{{ if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "wakumix.labels" -}}
app.kubernetes.io/name: wakumix
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "wakumix.selector" -}}
app.kubernetes.io/name: wakumix
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Seconds of a time such as 20s or 2m. */}}
{{- define "wakumix.seconds" -}}
{{- if hasSuffix "m" . }}{{ mul 60 (trimSuffix "m" . | int) }}{{ else }}{{ trimSuffix "s" . | int }}{{ end }}
{{- end }}

{{/*
The sets with their defaults, as JSON: {"sets": [{name, fullname, replicas, mixes, pods: [{name, index, ip, p2pPort, discv5Port}], …}]}.
Also where what schemas cannot say is refused.
*/}}
{{- define "wakumix.sets" -}}
{{- $root := . -}}
{{- $fullname := include "wakumix.fullname" . -}}
{{- $sets := list -}}
{{- $ports := dict -}}
{{- $members := 0 -}}
{{- $mixingSets := 0 -}}
{{- /* Not in values.yaml: Helm would add it to the sets of everybody. */ -}}
{{- $nodeSets := .Values.nodeSets | default (dict "sender" (dict "roles" (list "sender"))) -}}
{{- range $name := keys $nodeSets | sortAlpha -}}
  {{- $set := mergeOverwrite (deepCopy $root.Values.defaults) (deepCopy (get $nodeSets $name | default dict)) -}}
  {{- $where := printf "nodeSets.%s" $name -}}
  {{- if not $set.roles }}{{ fail (printf "%s.roles is missing: write the roles of its nodes, such as [mixer]" $where) }}{{ end -}}
  {{- $setName := printf "%s-%s" $fullname $name -}}
  {{- if gt (len $setName) 50 }}{{ fail (printf "%s: %s is longer than 50 characters, which pods and Services need: shorten the release or the set" $where $setName) }}{{ end -}}
  {{- $replicas := int $set.replicas -}}
  {{- $mixes := or (has "mixer" $set.roles) (has "exit" $set.roles) -}}
  {{- if and (ne (join "," $set.roles) "sender") (not $root.Values.identities.secretName) }}{{ fail (printf "%s: nodes that serve others need an identity that stays: make one per pod with deploy/helm/identities and set identities.secretName" $where) }}{{ end -}}
  {{- if and $mixes (not $set.persistence.enabled) (not $root.Values.network.closed) }}{{ fail (printf "%s.persistence.enabled is false: nodes that mix in a public network must keep their replay tags; set it to true" $where) }}{{ end -}}
  {{- if and (eq $set.addresses.mode "list") (ne (len $set.addresses.ips) $replicas) }}{{ fail (printf "%s.addresses.ips has %d addresses for %d replicas: write one IPv4 address per pod" $where (len $set.addresses.ips) $replicas) }}{{ end -}}
  {{- if and (eq $set.addresses.mode "podIP") (ne (join "," $set.roles) "sender") (not $root.Values.network.closed) }}{{ fail (printf "%s.addresses.mode is podIP: nodes outside of the cluster cannot reach pods there; use nodePort or list, or set network.closed" $where) }}{{ end -}}
  {{- if and $set.websocket.enabled (not $set.websocket.secretName) }}{{ fail (printf "%s.websocket.secretName is missing: name a Secret with a certificate for *.<domain>" $where) }}{{ end -}}
  {{- if and $set.websocket.enabled (not $set.websocket.domain) }}{{ fail (printf "%s.websocket.domain is missing: web pages dial each pod as <pod>.<domain>" $where) }}{{ end -}}
  {{- if and $set.rest.enabled (not $set.rest.tokenSecret) (not $set.rest.allowInsecure) }}{{ fail (printf "%s.rest: nodes refuse to publish outside of loopback without a token: set rest.tokenSecret, or rest.allowInsecure in a test network" $where) }}{{ end -}}
  {{- if and $set.rest.enabled (not $set.rest.from) $root.Values.networkPolicy.enabled }}{{ fail (printf "%s.rest.from is empty: name the pods that may use REST, as in a NetworkPolicy" $where) }}{{ end -}}
  {{- range $key := list "preset" "roles" "drain-timeout" "nodekey" "nodekey-file" "mixkey" "mixkey-file" "listen-address" "tcp-port" "ports-shift" "nat" "discv5-udp-port" "rest" "rest-address" "rest-port" "rest-token-file" "rest-allow-insecure" "metrics-server" "metrics-server-address" "metrics-server-port" "local-storage-path" "dns4-domain-name" "websocket-secure-support" "websocket-secure-port" -}}
    {{- if or (hasKey $set.config $key) (hasKey $root.Values.network.config $key) }}{{ fail (printf "%s.config.%s: the chart writes this key itself; use its own value instead (README.md)" $where $key) }}{{ end -}}
  {{- end -}}
  {{- if hasKey (dig "keys" dict (merge dict $set.config $root.Values.network.config)) "directory" }}{{ fail (printf "%s.config.keys.directory: the chart keeps keys on the volume of the pod; leave it out" $where) }}{{ end -}}
  {{- $pods := list -}}
  {{- range $index := until $replicas -}}
    {{- $p2p := int $set.p2pPort -}}
    {{- $udp := int $set.discv5Port -}}
    {{- if eq $set.addresses.mode "nodePort" -}}
      {{- $p2p = add (int $set.addresses.firstNodePort) $index -}}
      {{- $udp = $p2p -}}
      {{- $taken := get $ports (toString $p2p) -}}
      {{- if $taken }}{{ fail (printf "%s.addresses.firstNodePort: port %d is also of nodeSets.%s; choose ranges that do not overlap" $where $p2p $taken) }}{{ end -}}
      {{- if gt $p2p 32767 }}{{ fail (printf "%s.addresses.firstNodePort: port %d is above 32767; begin lower" $where $p2p) }}{{ end -}}
      {{- $_ := set $ports (toString $p2p) $name -}}
    {{- end -}}
    {{- $ip := "" -}}
    {{- if eq $set.addresses.mode "list" }}{{ $ip = index $set.addresses.ips $index }}{{ end -}}
    {{- $pods = append $pods (dict "name" (printf "%s-%d" $setName $index) "index" $index "ip" $ip "p2pPort" $p2p "discv5Port" $udp) -}}
  {{- end -}}
  {{- if $mixes }}{{ $members = add $members $replicas }}{{ $mixingSets = add1 $mixingSets }}{{ end -}}
  {{- $sets = append $sets (mergeOverwrite $set (dict "name" $name "fullname" $setName "mixes" $mixes "pods" $pods)) -}}
{{- end -}}
{{- $minimum := int .Values.network.minimumPool -}}
{{- if .Values.network.closed -}}
  {{- if lt (int (sub $members $mixingSets)) $minimum }}{{ fail (printf "the pool has %d mix nodes in %d sets, of which an upgrade restarts one each: it would fall below network.minimumPool, %d; add replicas to the sets with mixer or exit" (int $members) (int $mixingSets) $minimum) }}{{ end -}}
{{- end -}}
{{- if and .Values.network.closed (not .Values.identities.peers) (not .Values.network.entryNodes) }}{{ fail "the nodes know no node to begin from: set identities.peers, as deploy/helm/identities prints it, or network.entryNodes" }}{{ end -}}
{{- if and (not .Values.network.closed) (not .Values.network.preset) (not .Values.network.entryNodes) }}{{ fail "the nodes know no node to begin from: set network.preset, or network.entryNodes" }}{{ end -}}
{{- $least := 0 -}}
{{- if .Values.network.closed }}{{ $least = max $minimum (sub $members 1) }}{{ else }}{{ $least = sub $members 1 }}{{ end -}}
{{- dict "sets" $sets "members" $members "least" $least | toJson -}}
{{- end }}

{{/* Configuration of one pod, YAML with values in JSON. Arguments: root, set, sets, pod. */}}
{{- define "wakumix.config" -}}
{{- $root := .root -}}{{- $set := .set -}}{{- $pod := .pod -}}
{{- $entry := $root.Values.network.entryNodes -}}
{{- range $other := .sets -}}
  {{- /* Nobody begins from a node that only sends. */ -}}
  {{- if ne (join "," $other.roles) "sender" -}}{{- range $other.pods -}}
    {{- $peer := get $root.Values.identities.peers .name -}}
    {{- if and $peer (lt (int .index) 2) (ne .name $pod.name) -}}
      {{- $entry = append $entry (printf "/dns4/%s.%s.svc.%s/tcp/%d/p2p/%s" .name $root.Release.Namespace $root.Values.clusterDomain (int .p2pPort) $peer) -}}
    {{- end -}}
  {{- end -}}{{- end -}}
{{- end -}}
{{- $config := dict "roles" $set.roles "drain-timeout" $set.drainTimeout "tcp-port" (int $pod.p2pPort) "local-storage-path" "/data/directory" "keys" (dict "directory" "/data/keys") "metrics-server" true "metrics-server-address" "0.0.0.0" "metrics-server-port" 8008 "log-format" "json" "rest-port" (int $set.rest.port) "discv5-discovery" $root.Values.network.discv5 -}}
{{- if $root.Values.network.preset }}{{ $_ := set $config "preset" $root.Values.network.preset }}{{ end -}}
{{- if $entry }}{{ $_ := set $config "entry-node" $entry }}{{ end -}}
{{- if $root.Values.network.discv5 }}{{ $_ := set $config "discv5-udp-port" (int $pod.discv5Port) }}{{ end -}}
{{- if $pod.ip }}{{ $_ := set $config "nat" (printf "extip:%s" $pod.ip) }}{{ end -}}
{{- if $root.Values.identities.secretName }}{{ $_ := set $config "nodekey-file" "/etc/wakumix/identity/nodekey" }}{{ end -}}
{{- if $set.websocket.enabled -}}
  {{- $config = merge $config (dict "websocket-secure-support" true "websocket-secure-port" (int $set.websocket.port) "dns4-domain-name" (printf "%s.%s" $pod.name $set.websocket.domain) "websocket-secure-cert-path" "/etc/wakumix/websocket/tls.crt" "websocket-secure-key-path" "/etc/wakumix/websocket/tls.key") -}}
{{- end -}}
{{- if $set.rest.enabled -}}
  {{- $config = merge $config (dict "rest-address" "0.0.0.0" "rest-allow-host" (list (printf "%s-rest" $set.fullname) (printf "%s-rest.%s" $set.fullname $root.Release.Namespace) (printf "%s-rest.%s.svc" $set.fullname $root.Release.Namespace) (printf "%s-rest.%s.svc.%s" $set.fullname $root.Release.Namespace $root.Values.clusterDomain))) -}}
  {{- if $set.rest.tokenSecret }}{{ $_ := set $config "rest-token-file" "/etc/wakumix/rest/token" }}{{ end -}}
{{- end -}}
{{- $_ := set $config "rest-allow-insecure" (and $set.rest.enabled $set.rest.allowInsecure) -}}
{{- $config = mergeOverwrite $config (deepCopy $root.Values.network.config) (deepCopy $set.config) -}}
{{- range $key := keys $config | sortAlpha }}
{{- printf "%s: %s\n" $key (get $config $key | toJson) }}
{{- end }}
{{- end }}

{{/* Configurations of all pods of a set: what its checksum is over. Arguments: root, set, sets. */}}
{{- define "wakumix.configs" -}}
{{- $arguments := . -}}
{{- range .set.pods }}{{ include "wakumix.config" (merge (dict "pod" .) $arguments) }}{{ end -}}
{{- end }}
