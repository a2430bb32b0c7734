"""The configuration as others see it: its owner, and the mesh. No secret is in any of these views.

Source: spec apps-network 2.2, 2.3 and 2.6.
"""

from ztm.apps.proxy.forms import (
    AuthShown,
    ConfigBody,
    ConfigShown,
    FileForm,
    LogForm,
    OfferForm,
    RuleForm,
    SplunkForm,
)
from ztm.apps.proxy.model import Config, RequestLog, SplunkLog
from ztm.apps.proxy.rules import Rule


def body_of(config: Config) -> ConfigBody:
    """`config` without its secrets."""
    return ConfigBody(
        listen=str(config.listen) if config.listen else None,
        targets=list(config.targets.entries),
        exclusions=list(config.exclusions.entries),
        generateCert=config.generate_cert,
        log=_log_shown(config.log),
        rules=[_rule_shown(rule) for rule in config.rules],
        users=list(config.users),
        fromUsers=list(config.from_users),
        originCa=config.origin_ca,
    )


def shown(config: Config) -> ConfigShown:
    """`config` for its owner."""
    return ConfigShown(
        listen=str(config.listen) if config.listen else "",
        targets=list(config.targets.entries),
        exclusions=list(config.exclusions.entries),
        generateCert=config.generate_cert,
        log=_log_shown(config.log),
        rules=[_rule_shown(rule) for rule in config.rules],
        users=list(config.users),
        fromUsers=list(config.from_users),
        auth=AuthShown(config.credentials.user) if config.credentials else None,
        originCa=config.origin_ca,
    )


def offered(config: Config) -> OfferForm:
    """What `config` tells the mesh: who may use the exit as well, so that others do not try."""
    return OfferForm(list(config.targets.entries), list(config.exclusions.entries), list(config.users))


def _rule_shown(rule: Rule) -> RuleForm:
    return RuleForm(rule.action, list(rule.users), list(rule.groups), list(rule.targets.entries))


def _log_shown(log: RequestLog | None) -> LogForm | None:
    if isinstance(log, SplunkLog):
        return LogForm(splunk=SplunkForm(log.url))
    return LogForm(file=FileForm(log.name)) if log else None
