// The dashboards and rules beside this file as the objects that monitoring mixins have, for those who deploy with jsonnet.
// Tried with 0.22; 0.18 cannot read expressions of several lines. The plain files are the source; nobody else needs this one.
//
//   (import 'postback/deploy/mixin.libsonnet') + { _config+:: { console: 'https://postback.example.com' } }
{
  _config+:: {
    // Where the links of alerts and dashboards lead.
    console: 'http://127.0.0.1:9464',
    grafana: 'http://127.0.0.1:3000',
  },
  local config = $._config,
  local moved(text) = std.strReplace(std.strReplace(text, 'http://127.0.0.1:9464', config.console), 'http://127.0.0.1:3000', config.grafana),
  grafanaDashboards+:: std.mapWithKey(function(_, board) std.parseJson(moved(board)), {
    'overview.json': importstr 'grafana/dashboards/overview.json',
    'platform.json': importstr 'grafana/dashboards/platform.json',
    'account.json': importstr 'grafana/dashboards/account.json',
    'kafka-redis.json': importstr 'grafana/dashboards/kafka-redis.json',
    'dead-letters.json': importstr 'grafana/dashboards/dead-letters.json',
    'capacity.json': importstr 'grafana/dashboards/capacity.json',
  }),
  prometheusRules+:: std.parseYaml(importstr 'prometheus/recording.yml'),
  prometheusAlerts+:: std.parseYaml(moved(importstr 'prometheus/alerts.yml')),
}
