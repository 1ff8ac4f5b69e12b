// The rules, alerts and dashboards of wakumix as a monitoring mixin: the same files that can be loaded without jsonnet.
//
//   local wakumix = import 'deploy/prometheus/mixin.libsonnet';
//   { 'rules.yaml': std.manifestYamlDoc(wakumix.prometheusRules), … }
local rules = std.parseYaml(importstr 'rules.yaml');
local alerts = std.parseYaml(importstr 'alerts.yaml');

{
  prometheusRules+:: rules,
  prometheusAlerts+:: alerts,
  grafanaDashboards+:: {
    'wakumix-network.json': import '../grafana/wakumix-network.json',
    'wakumix-mixing.json': import '../grafana/wakumix-mixing.json',
    'wakumix-exit.json': import '../grafana/wakumix-exit.json',
    'wakumix-discovery.json': import '../grafana/wakumix-discovery.json',
    'wakumix-sender.json': import '../grafana/wakumix-sender.json',
    'wakumix-node.json': import '../grafana/wakumix-node.json',
    'wakumix-libp2p.json': import '../grafana/wakumix-libp2p.json',
    'waku.json': import '../grafana/waku.json',
  },
}
