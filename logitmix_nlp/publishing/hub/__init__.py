# SPDX-License-Identifier: Apache-2.0
"""Publishing on the Hub: what may be uploaded, without secrets, with retries, in the background of a training."""
