"""stub"""

from server.access.services import Services


def soon(services: Services, studies: set[tuple[str, str]]) -> None: ...
