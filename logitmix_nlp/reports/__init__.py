# SPDX-License-Identifier: Apache-2.0
"""What every report of this project is made of: tables, plots, and one page that holds them."""
