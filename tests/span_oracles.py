# SPDX-License-Identifier: Apache-2.0
"""SSMix as the authors' code has it, row by row, for the tests."""

import torch

CLS, SEP, PAD = 101, 102, 0


def runs(row, special=(CLS, SEP, PAD)):
    """Positions of each text in a row, in order."""
    found, last = [], None
    for place, token in enumerate(row.tolist()):
        if token in special:
            last = None
            continue
        if last is None:
            found.append([])
        found[-1].append(place)
        last = place
    return found


def ssmix_loop(ids, index, saliency, special=(CLS, SEP, PAD)):
    """The authors' rule, row by row and text by text."""
    mixed, lams = ids.clone(), []
    for row, other in enumerate(index.tolist()):
        replaced = 0
        for own, theirs in zip(runs(ids[row], special), runs(ids[other], special), strict=True):
            size = max(int(len(own) * 0.1), 1)
            if len(theirs) < size:
                continue
            sums = [
                sum(saliency[row, p].double().item() for p in own[k : k + size]) for k in range(len(own) - size + 1)
            ]
            others = [
                sum(saliency[other, p].double().item() for p in theirs[k : k + size])
                for k in range(len(theirs) - size + 1)
            ]
            first, best = own[sums.index(min(sums))], theirs[others.index(max(others))]
            mixed[row, first : first + size] = ids[other, best : best + size]
            replaced += size
        lams.append(1 - replaced / sum(map(len, runs(ids[row], special))))
    return mixed, torch.tensor(lams)
