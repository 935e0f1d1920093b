"""Find e-mail and IP addresses in a folded text (mynah.data.text_folding)."""

import ipaddress
import re
import unicodedata
from collections.abc import Iterator

Span = tuple[int, int]

# Letters, digits and marks of scripts with spaces between words, and those of the others: words of these may adjoin an address.
_SPACED = [char for char in map(chr, range(0x80, 0xE00)) if char.isalnum() or unicodedata.category(char).startswith("M")]
SPACED_LETTER = "A-Za-z" + "".join(char for char in _SPACED if not char.isdigit())
SPACED = "0-9_" + SPACED_LETTER
UNSPACED = (
    "\u0e01-\u0e3a\u0e40-\u1fff\u2c00-\u2dff\u3005-\u3007\u3041-\u30fa\u30fd-\u9fff\ua000-\ud7ff\uf900-\ufaff\ufe70-\ufefc"
    "\uff66-\uff9f\U00010000-\U0001cfff\U0001e000-\U0001efff\U00020000-\U0003ffff"
)
# Top-level domains in scripts without spaces (https://data.iana.org/TLD/tlds-alpha-by-domain.txt), where the words behind one must stay.
KNOWN_ENDS = (
    "中国|中國|中文网|香港|台湾|台灣|新加坡|澳门|澳門|公司|公益|网络|網絡|网址|网站|网店|商城|商店|商标|集团|在线|移动|手机|信息|娱乐|游戏|企业|政务"
    "|机构|组织机构|健康|招聘|广东|佛山|购物|通販|世界|家電|みんな|グ-グル|コム|ストア|クラウド|セ-ル|ファッション|ポイント|アマゾン"
    "|닷컴|닷넷|한국|삼성|ไทย|คอม|ລາວ|გე"
)
# Labels of RFC 1035 or internationalized ones (RFC 5890), and a top-level domain of letters, in punycode, or in a script without spaces.
DOMAIN = re.compile(
    rf"(?:(?!_)[{SPACED}{UNSPACED}][{SPACED}{UNSPACED}-]{{0,62}}\.){{1,8}}"
    rf"(?:xn--[0-9a-z-]{{1,58}}[0-9a-z](?![0-9A-Za-z])|[{SPACED_LETTER}]{{2,24}}(?![0-9{SPACED_LETTER}])|{KNOWN_ENDS}|[{UNSPACED}]{{2,24}})",
    re.IGNORECASE,
)
MAX_LOCAL_PART = 64  # RFC 5321, 4.5.3.1.1
SPACED_LOCAL_PART = re.compile(rf"[{SPACED}.+%'~-]+\Z")
LOCAL_PART = re.compile(rf"[{SPACED}{UNSPACED}.+%'~-]+\Z")


# As people hide an address from programs: ann [at] example [dot] org. Without brackets it is a sentence.
def _bracketed(words: str) -> str:
    return (
        "(?:"
        + "|".join(
            rf"{left} ?(?:{words}) ?{right}" for left, right in ((r"\[", r"\]"), (r"\(", r"\)"), (r"\{", r"\}"), ("<", ">"))
        )
        + ")"
    )


SPELLED = re.compile(
    rf"(?<![A-Za-z0-9.+%-])[A-Za-z0-9+%_-][A-Za-z0-9.+%_-]{{0,63}} ?{_bracketed('at|ät|arroba|@')} ?"
    rf"(?:[A-Za-z0-9][A-Za-z0-9-]{{0,62}}(?:\.| ?{_bracketed('dot|punkt|punto|point|[.]')} ?)){{1,6}}"
    r"[A-Za-z]{2,24}(?![A-Za-z0-9])",
    re.IGNORECASE,
)

IP4 = re.compile(r"(?<![\w+])(?<![0-9]\.)[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?!\w|\.[0-9])", re.ASCII)
IP6 = re.compile(
    r"(?<!\w)(?<![0-9]:)(?:[0-9a-f]{0,4}:){2,8}(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9a-f]{0,4})(?!\w|:\w|\.[0-9])",
    re.ASCII | re.IGNORECASE,
)
MIN_IP4_DIGITS = 7  # 1.2.3.4 and 10.15.7.1 are more often versions of programs
MIN_IP6_GROUPS = 4  # with fewer written ones an address must be of the blocks that are given out: face::cafe is no address
GIVEN_OUT = (ipaddress.IPv6Network("2000::/3"), ipaddress.IPv6Network("64:ff9b::/96"))


def find_emails(text: str) -> Iterator[Span]:
    """Yield the spans of e-mail addresses. A name after another "@" (@ann@mastodon.social) is a handle."""
    lowest = 0
    for at in re.finditer("@", text):
        domain = DOMAIN.match(text, at.end())
        if not domain:
            continue
        unspaced = any(char >= "\u0e00" for char in domain.group())
        start = _local_part_start(text, max(lowest, at.start() - MAX_LOCAL_PART), at.start(), unspaced)
        if start < at.start():
            yield start, domain.end()
            lowest = domain.end()


def _local_part_start(text: str, lowest: int, at: int, unspaced: bool) -> int:
    """Return where the name before the "@" at `at` begins, `at` itself where there is none.

    In scripts without spaces the words before may adjoin the name: such a name is taken only where the domain has letters of that kind, too.
    """
    found = (LOCAL_PART if unspaced else SPACED_LOCAL_PART).search(text, lowest, at)
    if not found:
        return at
    start = max(found.start(), text.rfind("..", found.start(), at) + 2 if ".." in found.group() else 0)
    start += len(text[start:at]) - len(text[start:at].lstrip(".'~"))
    return at if start and text[start - 1] == "@" else start


def find_spelled_emails(text: str) -> Iterator[Span]:
    """Yield the spans of e-mail addresses with words in brackets for "@" and dots."""
    return (match.span() for match in SPELLED.finditer(text))


def find_ip_addresses(text: str) -> Iterator[Span]:
    """Yield the spans of public IP addresses: neither private nor reserved ones, nor what is more likely something else."""
    ip6 = [match.span() for match in IP6.finditer(text) if _is_public(match.group())]
    yield from ip6
    for match in IP4.finditer(text):
        if _is_public(match.group()) and not any(start <= match.start() < end for start, end in ip6):
            yield match.span()


def _is_public(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and sum(map(str.isdigit, text)) >= MIN_IP4_DIGITS
    if address.ipv4_mapped:
        return address.ipv4_mapped.is_global
    groups = [group for group in text.split(":") if group]
    if len(groups) >= MIN_IP6_GROUPS:
        return address.is_global
    # "2019::" and "2019::2020" are years
    is_years = len(groups) < MIN_IP6_GROUPS - 1 and all(map(str.isdigit, groups))
    return address.is_global and not is_years and any(address in block for block in GIVEN_OUT)
