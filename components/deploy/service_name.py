"""The longest name of an InferenceService: KServe joins it with its namespace to one DNS label."""

from mynah.core.errors import InputError

JOINED = "-predictor-"  # NAME-predictor-NAMESPACE, also where KServe makes no ingress (its pkg/controller/…/ingress/domain.go)
LONGEST = 63 - len(JOINED)  # of a name and a namespace together: https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4


def require_name_fits(name: str, namespace: str) -> None:
    """Check that KServe can join the names of a bot and a namespace, which it tries only after it accepted the InferenceService.

    Args:
        name: The bot.
        namespace: The namespace.

    Raises:
        InputError: They are too long together.
    """
    length = len(name) + len(namespace)
    if length > LONGEST:
        raise InputError(
            f"the bot {name!r} and the namespace {namespace!r} have {length} characters together, and KServe allows {LONGEST}: it joins them to "
            f"{name}{JOINED}{namespace}, which DNS limits to 63",
            f"Use a name of at most {max(LONGEST - len(namespace), 0)} characters, or a shorter --namespace.",
        )
