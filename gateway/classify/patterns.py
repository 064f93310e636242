"""What personal data and secrets look like: for each kind a cheap gate, the exact pattern, and its validator.

Gates of all kinds run at once over a body (one automaton); the pattern of a kind runs only where its gate was hit.
All are RE2: linear in the text, whatever the text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from gateway.classify.validators import (
    always,
    is_card,
    is_iban,
    is_mailbox,
    is_password,
    is_phone,
    is_private_key,
    is_secret,
    is_ssn,
)


class Kind(msgspec.Struct, frozen=True):
    """One kind of finding; `cost` is a candidate's share of the allowance.

    `gate` is what the automaton of all kinds looks for: no counted repetition after a class that ordinary text is
    full of, or the automaton's states explode. What is found, and what the validator gets, is the group that took part
    in the match, or all of it; with `whole` the validator gets the group, and the match is what is found.
    `anchored`: the pattern is tried only where the gate matched.
    """

    detector: str
    name: str
    pattern: str
    gate: str
    valid: Callable[[bytes], bool] = always
    anchored: bool = False
    whole: bool = False
    cost: int = 1


# Vendors' token formats, as the vendors or their secret-scanning partners document them: prefix, then what follows.
_KEYS: Final = {
    "openai": r"sk-(?:proj|svcacct|admin|None)-[\w-]{20,}|sk-[a-zA-Z0-9]{20,}",
    "anthropic": r"sk-ant-(?:api|admin|oat)\d\d-[\w-]{20,}",
    "openrouter": r"sk-or-v1-[0-9a-f]{40,}",
    "groq": r"gsk_[a-zA-Z0-9]{40,}",
    "xai": r"xai-[a-zA-Z0-9]{60,}",
    "perplexity": r"pplx-[a-zA-Z0-9]{40,}",
    "huggingface": r"(?:hf|api_org)_[a-zA-Z]{30,}",
    "aws": r"(?:AKIA|ASIA|ABIA|ACCA|A3T[A-Z0-9])[A-Z2-7]{16}|ABSK[A-Za-z0-9+/]{60,}={0,2}",
    "gcp": r"AIza[\w-]{35}|GOCSPX-[\w-]{28}|ya29\.[\w-]{30,}",
    "github": r"gh[pousr]_[a-zA-Z0-9]{36,}|github_pat_\w{50,}",
    "gitlab": r"gl(?:pat|dt|ptt|rt|cbt|ft|imt|agent|oas|soat|ffct|rtr)-[\w.-]{20,}|GR1348941[\w-]{20,}"
    r"|_gitlab_session=[0-9a-z]{32}",
    "slack": r"xox[abeoprs](?:\.xox[bp])?-[\w-]{10,}|xapp-\d-[\w-]{10,}"
    r"|hooks\.slack\.com/(?:services|workflows|triggers)/[\w/+-]{20,}",
    "stripe": r"(?:sk|rk|pk)_(?:live|test|prod)_[a-zA-Z0-9]{10,}|whsec_[a-zA-Z0-9]{24,}",
    "npm": r"npm_[a-zA-Z0-9]{36}|_authToken ?= ?[\w-]{20,}",
    "pypi": r"pypi-[\w-]{50,}",
    "rubygems": r"rubygems_[0-9a-f]{48}",
    "docker": r"dckr_(?:pat|oat)_[\w-]{20,}",
    "digitalocean": r"do[oprt]_v1_[0-9a-f]{64}",
    "sendgrid": r"SG\.[\w=.-]{60,}",
    "mailgun": r"(?:pubkey|key)-[0-9a-f]{32}",
    "sendinblue": r"xkeysib-[0-9a-f]{64}-[a-zA-Z0-9]{16}",
    "mailchimp": r"[0-9a-f]{32}-us\d\d?",
    "twilio": r"(?:SK|AC)[0-9a-f]{32}",
    "telegram": r"\d{8,10}:A[\w-]{34}",
    "discord": r"discord(?:app)?\.com/api/webhooks/\d+/[\w-]{40,}",
    "shopify": r"shp(?:at|ca|pa|ss|ua)_[0-9a-fA-F]{32}",
    "square": r"EAAA[\w-]{40,}|sq0(?:atp|csp|csg)-[\w-]{22,}",
    "easypost": r"EZ[AT]K[a-zA-Z0-9]{54}",
    "shippo": r"shippo_(?:live|test)_[0-9a-fA-F]{40}",
    "flutterwave": r"FLW(?:SECK|PUBK)_TEST-[0-9a-zA-Z]{12,}",
    "duffel": r"duffel_(?:live|test)_[\w=-]{43}",
    "grafana": r"glc_[A-Za-z0-9+/]{32,}={0,2}|glsa_\w{32}_[0-9a-fA-F]{8}|eyJrIjoi[A-Za-z0-9+/]{60,}={0,2}",
    "sentry": r"sntr(?:ys|yu)_[\w+/=-]{60,}",
    "newrelic": r"NR(?:AK|II|JS|RA)-[a-zA-Z0-9-]{19,}",
    "dynatrace": r"dt0[a-z]\d\d\.[a-zA-Z0-9]{24}\.[a-zA-Z0-9]{64}",
    "databricks": r"dapi[0-9a-f]{32}(?:-\d)?",
    "planetscale": r"pscale_(?:tkn|oauth|pw)_[\w=.-]{32,}",
    "flyio": r"fo1_[\w-]{43}|fm[12][ar]?_[A-Za-z0-9+/]{60,}={0,3}",
    "tailscale": r"tskey-[a-z]+-[\w-]{16,}",
    "openshift": r"sha256~[\w-]{43}",
    "vault": r"hv[sbr]\.[\w-]{24,}|s\.[a-zA-Z0-9]{24}\b",
    "sonar": r"sq[apu]_[a-zA-Z0-9]{40}",
    "clickhouse": r"4b1d[a-zA-Z0-9]{38}\b",
    "hashicorp": r"[a-zA-Z0-9]{14}\.atlasv1\.[\w=-]{60,}",
    "doppler": r"dp\.(?:pt|st|sa|ct|scim|audit)\.[a-zA-Z0-9.]{40,}",
    "pulumi": r"pul-[0-9a-f]{40}",
    "infracost": r"ico-[a-zA-Z0-9]{32}",
    "scalingo": r"tk-us-[\w-]{48}",
    "heroku": r"HRKU-[\w-]{36,}",
    "harness": r"(?:pat|sat)\.[\w-]{22}\.[\w-]{24}\.[\w-]{20}",
    "octopus": r"API-[A-Z0-9]{26}",
    "artifactory": r"AKC[a-zA-Z0-9]{60,}|cmVmd[a-zA-Z0-9]{59}",
    "sourcegraph": r"sgp_(?:(?:local|[0-9a-f]{16})_)?[0-9a-fA-F]{40}",
    "linear": r"lin_(?:api|oauth)_[a-zA-Z0-9]{40,}",
    "notion": r"ntn_[a-zA-Z0-9]{40,}|secret_[a-zA-Z0-9]{43}",
    "airtable": r"pat[a-zA-Z0-9]{14}\.[0-9a-f]{64}",
    "figma": r"figd_[\w-]{40}",
    "postman": r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}",
    "typeform": r"tfp_[\w.=-]{59}",
    "readme": r"rdme_[a-zA-Z0-9]{70}",
    "frameio": r"fio-u-[\w=-]{64}",
    "prefect": r"pnu_[a-zA-Z0-9]{36}",
    "authress": r"(?:sc|ext|scauth|authress)_[a-zA-Z0-9]{5,30}\.[a-zA-Z0-9]{4,6}\.acc[_-][\w.+/=-]{20,}",
    "clojars": r"CLOJARS_[a-zA-Z0-9]{60}",
    "adobe": r"p8e-[a-zA-Z0-9]{32}",
    "alibaba": r"LTAI[a-zA-Z0-9]{17,20}",
    "cloudflare": r"v1\.0-[0-9a-f]{24}-[0-9a-f]{146}",
    "mapbox": r"[ps]k\.[a-zA-Z0-9]{60}\.[a-zA-Z0-9]{22}",
    "1password": r"ops_eyJ[a-zA-Z0-9+/]{200,}={0,3}|A3-[A-Z0-9]{6}-[A-Z0-9]{5,11}-[A-Z0-9-]{15,}",
    "age": r"AGE-SECRET-KEY-1[A-Z0-9]{58}",
    "yandex": r"t1\.[A-Z0-9a-z_-]+=*\.[A-Z0-9a-z_-]{86}={0,2}|AQVN[\w-]{35,38}",
    "plaid": r"access-(?:sandbox|development|production)-[0-9a-f-]{36}",
    "facebook": r"EAA[MC][a-zA-Z0-9]{40,}",
    "lob": r"(?:live|test)_(?:pub_)?[0-9a-f]{31,35}",
    "gocardless": r"live_[\w=-]{40}",
    "intra42": r"s-s4t2(?:ud|af)-[0-9a-f]{64}",
    "settlemint": r"sm_(?:aat|pat|sat)_[a-zA-Z0-9]{16}",
    "maxmind": r"[a-zA-Z0-9]{6}_[a-zA-Z0-9]{29}_mmk",
}
# Where a key may begin: a beginning that is rare in ordinary text. From there the formats above are tried, anchored:
# all of them at every place of a body would cost 300 us a KB.
_KEY_GATE: Final = (
    r"\bsk-[\w-]{8}|\bgsk_|\bxai-[a-zA-Z0-9]{8}|\bpplx-|\bhf_[a-zA-Z]{4}|\bapi_org_|\bA(?:KIA|SIA|BIA|CCA|3T\w)[A-Z2-7]{4}"
    r"|\bABSK\w|\bAIza|\bGOCSPX-|\bya29\.|\bgh[pousr]_\w|\bgithub_pat_|\bgl(?:pat|dt|ptt|rt|cbt|ft|imt|agent|oas|soat)-"
    r"|\bgl(?:ffct|rtr)-|\bGR1348941|_gitlab_session=|\bxox[abeoprs][.-]|\bxapp-\d|\bhooks\.slack\.com"
    r"|\b[srp]k_(?:live|test|prod)_|\bwhsec_|\bnpm_[a-zA-Z0-9]{8}|\bpypi-[\w-]{8}|\brubygems_[0-9a-f]|\bdckr_"
    r"|\bdo[oprt]_v1_|\bSG\.[\w=-]{4}|\b(?:pub)?key-[0-9a-f]{4}|\bxkeysib-|\b[0-9a-f]{32}-us\d|\b(?:SK|AC)[0-9a-f]{8}"
    r"|\b\d{8,10}:A|\bdiscord(?:app)?\.com/api/webhooks/|\bshp(?:at|ca|pa|ss|ua)_|\bEAAA\w|\bsq0(?:atp|cs[pg])-|\bEZ[AT]K"
    r"|\bshippo_|\bFLW(?:SECK|PUBK)_|\bduffel_(?:live|test)|\bgl(?:c|sa)_\w|\beyJrIjoi|\bsntry|\bNR(?:AK|II|JS|RA)-"
    r"|\bdt0[a-z]\d\d\.|\bdapi[0-9a-f]{8}|\bpscale_|\bfo1_\w|\bfm[12][ar]?_\w|\btskey-|\bsha256~|\bhv[sbr]\.\w"
    r"|\b[a-zA-Z0-9]{14}\.atlasv1\.|\bdp\.[a-z]{2,5}\.|\bpul-[0-9a-f]|\bico-[a-zA-Z0-9]{4}|\btk-us-|\bHRKU-"
    r"|\b[ps]at\.[\w-]{8}|\bAPI-[A-Z0-9]{8}|\bAKC[a-zA-Z0-9]{8}|\bcmVmd|\bsgp_\w|\blin_(?:api|oauth)_|\bntn_[a-zA-Z0-9]"
    r"|\bsecret_[a-zA-Z0-9]{8}|\bpat[a-zA-Z0-9]{14}\.|\bfigd_|\bPMAK-|\btfp_\w|\brdme_|\bfio-u-|\bpnu_[a-zA-Z0-9]{4}"
    r"|\b(?:sc|ext|scauth|authress)_[a-zA-Z0-9]+\.[a-zA-Z0-9]+\.acc|\bCLOJARS_|\bp8e-\w|\bLTAI\w|\bv1\.0-[0-9a-f]{8}"
    r"|\b[ps]k\.[a-zA-Z0-9]{8}|\bops_eyJ|\bA3-[A-Z0-9]{6}-|\bAGE-SECRET-KEY|\bt1\.[\w-]+=*\.[\w-]{8}|\bAQVN"
    r"|\baccess-(?:sandbox|development|production)-|\bEAA[MC]\w{4}|\b(?:live|test)_(?:pub_)?[0-9a-f]{8}|\blive_[\w=-]{8}"
    r"|\bs\.[a-zA-Z0-9]{12}|\bsq[apu]_[a-zA-Z0-9]|\b4b1d[a-zA-Z0-9]|_authToken|\bs-s4t2|\bsm_[aps]at_|\b[a-zA-Z0-9]{6}_[a-zA-Z0-9]{29}_mmk"
)

_PHONE_WORD: Final = r"(?i:\b(?:phone|tel|telephone|mobile|cell|call|fax|whatsapp|contact)\b)[^\d\n+]{0,20}"
_SSN_WORD: Final = r"(?i:\bssn|social.security)[^\d\n]{0,24}"

KINDS: Final = (
    Kind(
        "pii",
        "email",
        r"[a-zA-Z0-9._%+-]*[a-zA-Z0-9_]@(?:[a-zA-Z0-9-]+\.)+[a-zA-Z]{2,}\b",
        gate=r"[a-zA-Z0-9_]@[a-zA-Z0-9]",
        valid=is_mailbox,
    ),
    Kind(
        "pii",
        "credit_card",
        r"(?:^|[^\w.-])(\d(?:[ .-]?\d){11,18})(?:$|[^\w-])",
        gate=r"\d(?:[ .-]?\d){11}",
        valid=is_card,
    ),
    Kind(
        "pii",
        "iban",
        r"(?i)\b[a-z]{2}\d{2}(?:[ -]?[a-z0-9]{4}){2,7}(?:[ -]?[a-z0-9]{1,3})?\b",
        gate=r"(?i)\b[a-z]{2}\d{2}[ -]?[a-z0-9]{4}[ -]?[a-z0-9]{4}",
        valid=is_iban,
    ),
    Kind(
        "pii",
        "us_ssn",
        r"(?:^|[^\d.-])(\d{3}-\d{2}-\d{4})(?:$|[^\d-])|" + _SSN_WORD + r"(\d{3}[ .]?\d{2}[ .]?\d{4})(?:$|\D)",
        gate=r"\d{3}-\d{2}-\d{4}|" + _SSN_WORD + r"\d{3}[ .]?\d{2}[ .]?\d{4}",
        valid=is_ssn,
    ),
    Kind(
        "pii",
        "phone",
        r"(?:^|[^\w.+])(\+[1-9]\d{0,2}[ .()/-]{0,3}\d(?:[ .()/-]{0,2}\d){5,13})(?:$|\D)"
        r"|(?:^|[^\w.-])((?:1[ .-])?(?:\([2-9]\d{2}\)|[2-9]\d{2}[ .-])[ .-]?[2-9]\d{2}[ .-]\d{4})(?:$|[^\w-])"
        r"|" + _PHONE_WORD + r"(\+?\(?\d(?:[ .()/-]{0,3}\d){6,13})(?:$|\D)",
        gate=r"\+[1-9]\d{0,2}[ .()/-]{0,3}\d[ .()/-]{0,2}\d[ .()/-]{0,2}\d|[2-9]\d{2}[) .-][ .-]?[2-9]\d{2}[ .-]\d{4}"
        r"|" + _PHONE_WORD + r"\+?\d[ .()/-]{0,2}\d[ .()/-]{0,2}\d",
        valid=is_phone,
        cost=10,
    ),
    Kind(
        "secrets",
        "api_key",
        "(?:" + "|".join(_KEYS.values()) + ")",
        gate=_KEY_GATE,
        valid=is_secret,
        anchored=True,
        cost=4,
    ),
    Kind("secrets", "jwt", r"\beyJ[\w-]+\.eyJ[\w-]+(?:\.[\w-]*)?", gate=r"\beyJ[\w-]+\.eyJ\w"),
    Kind(
        "secrets",
        "private_key",
        r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----[^-]*(?:-[^-]+)*(?:-----END [A-Z0-9 ]+-----)?",
        gate=r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY",
        valid=is_private_key,
    ),
    Kind(
        "secrets",
        "url_with_credentials",
        r"(?i)\b[a-z][a-z0-9+.-]*://[^\s:/@'<>{}]*:([^\s/@'<>{}]{2,})@[a-z0-9\[][^\s'<>]*"
        r"|\b[a-z][a-z0-9+.-]*://[^\s'<>]+[?&]pass(?:word|wd)?=([^\s&'<>{}]{3,})",
        gate=r"://[^\s:/@]*:[^\s/@]+@|[?&]passw",
        valid=is_password,
        whole=True,
    ),
)
