# SPDX-License-Identifier: Apache-2.0
from hub_fixtures import point_to, pytest_collection_modifyitems, server

__all__ = ["point_to", "pytest_collection_modifyitems", "server"]
