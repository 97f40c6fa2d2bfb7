# SPDX-License-Identifier: Apache-2.0
"""BibTeX of the papers behind methods and metrics; `docs/methods` holds the same papers for people."""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

__all__ = ["BIBTEX", "bibtex", "paper_name"]

BIBTEX: Mapping[str, str] = MappingProxyType(
    {
        "logitmix": """@inproceedings{bang2022logitmix,
  title = {Logit Mixing Training for More Reliable and Accurate Prediction},
  author = {Bang, Duhyeon and Baek, Kyungjune and Kim, Jiwoo and Jeon, Yunho and Kim, Jin-Hwa and Kim, Jiwon and
    Lee, Jongwuk and Shim, Hyunjung},
  booktitle = {Proceedings of the Thirty-First International Joint Conference on Artificial Intelligence},
  pages = {2812--2819},
  year = {2022},
  doi = {10.24963/ijcai.2022/390}
}""",
        "mixup_transformer": """@inproceedings{sun2020mixup,
  title = {Mixup-Transformer: Dynamic Data Augmentation for NLP Tasks},
  author = {Sun, Lichao and Xia, Congying and Yin, Wenpeng and Liang, Tingting and Yu, Philip S. and He, Lifang},
  booktitle = {Proceedings of the 28th International Conference on Computational Linguistics},
  year = {2020},
  eprint = {2010.02394},
  archiveprefix = {arXiv}
}""",
        "mixup": """@inproceedings{zhang2018mixup,
  title = {mixup: Beyond Empirical Risk Minimization},
  author = {Zhang, Hongyi and Cisse, Moustapha and Dauphin, Yann N. and Lopez-Paz, David},
  booktitle = {International Conference on Learning Representations},
  year = {2018},
  eprint = {1710.09412},
  archiveprefix = {arXiv}
}""",
        "manifold_mixup": """@inproceedings{verma2019manifold,
  title = {Manifold Mixup: Better Representations by Interpolating Hidden States},
  author = {Verma, Vikas and Lamb, Alex and Beckham, Christopher and Najafi, Amir and Mitliagkas, Ioannis and
    Lopez-Paz, David and Bengio, Yoshua},
  booktitle = {Proceedings of the 36th International Conference on Machine Learning},
  year = {2019},
  eprint = {1806.05236},
  archiveprefix = {arXiv}
}""",
        "cutmix": """@inproceedings{yun2019cutmix,
  title = {CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features},
  author = {Yun, Sangdoo and Han, Dongyoon and Oh, Seong Joon and Chun, Sanghyuk and Choe, Junsuk and Yoo, Youngjoon},
  booktitle = {Proceedings of the IEEE/CVF International Conference on Computer Vision},
  year = {2019},
  eprint = {1905.04899},
  archiveprefix = {arXiv}
}""",
        "puzzlemix": """@inproceedings{kim2020puzzle,
  title = {Puzzle Mix: Exploiting Saliency and Local Statistics for Optimal Mixup},
  author = {Kim, Jang-Hyun and Choo, Wonho and Song, Hyun Oh},
  booktitle = {Proceedings of the 37th International Conference on Machine Learning},
  year = {2020},
  eprint = {2009.06962},
  archiveprefix = {arXiv}
}""",
        "ssmix": """@inproceedings{yoon2021ssmix,
  title = {SSMix: Saliency-Based Span Mixup for Text Classification},
  author = {Yoon, Soyoung and Kim, Gyuwan and Park, Kyumin},
  booktitle = {Findings of the Association for Computational Linguistics: ACL-IJCNLP 2021},
  year = {2021},
  eprint = {2106.08062},
  archiveprefix = {arXiv}
}""",
        "tmix": """@inproceedings{chen2020mixtext,
  title = {MixText: Linguistically-Informed Interpolation of Hidden Space for Semi-Supervised Text Classification},
  author = {Chen, Jiaao and Yang, Zichao and Yang, Diyi},
  booktitle = {Proceedings of the 58th Annual Meeting of the Association for Computational Linguistics},
  year = {2020},
  eprint = {2004.12239},
  archiveprefix = {arXiv}
}""",
        "lamix": """@misc{anonymous2022lamix,
  title = {Bypassing the Random Input Mixing in Mixup},
  author = {{Anonymous}},
  note = {Under double-blind review},
}""",
        "label_smoothing": """@inproceedings{szegedy2016rethinking,
  title = {Rethinking the Inception Architecture for Computer Vision},
  author = {Szegedy, Christian and Vanhoucke, Vincent and Ioffe, Sergey and Shlens, Jonathon and Wojna, Zbigniew},
  booktitle = {Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition},
  year = {2016},
  eprint = {1512.00567},
  archiveprefix = {arXiv}
}""",
        "confidence_penalty": """@misc{pereyra2017regularizing,
  title = {Regularizing Neural Networks by Penalizing Confident Output Distributions},
  author = {Pereyra, Gabriel and Tucker, George and Chorowski, Jan and Kaiser, {\\L}ukasz and Hinton, Geoffrey},
  year = {2017},
  eprint = {1701.06548},
  archiveprefix = {arXiv}
}""",
        "vwci": """@inproceedings{seo2019learning,
  title = {Learning for Single-Shot Confidence Calibration in Deep Neural Networks through Stochastic Inferences},
  author = {Seo, Seonguk and Seo, Paul Hongsuck and Han, Bohyung},
  booktitle = {Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year = {2019},
  eprint = {1809.10877},
  archiveprefix = {arXiv}
}""",
        "calibration": """@inproceedings{thulasidasan2019mixup,
  title = {On Mixup Training: Improved Calibration and Predictive Uncertainty for Deep Neural Networks},
  author = {Thulasidasan, Sunil and Chennupati, Gopinath and Bilmes, Jeff and Bhattacharya, Tanmoy and
    Michalak, Sarah},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2019},
  eprint = {1905.11001},
  archiveprefix = {arXiv}
}""",
        "temperature": """@inproceedings{guo2017calibration,
  title = {On Calibration of Modern Neural Networks},
  author = {Guo, Chuan and Pleiss, Geoff and Sun, Yu and Weinberger, Kilian Q.},
  booktitle = {Proceedings of the 34th International Conference on Machine Learning},
  year = {2017},
  eprint = {1706.04599},
  archiveprefix = {arXiv}
}""",
    }
)


def paper_name(key: str) -> str:
    """Authors, title and year of an entry of [`BIBTEX`], for prose; a preprint with its number at arXiv."""
    fields = dict(re.findall(r"(\w+) = \{(.*?)\},?\n(?=  \w|\})", BIBTEX[key], flags=re.DOTALL))
    first, *others = (name.split(",")[0].strip("{} ") for name in fields["author"].split(" and "))
    parts = [f"{first} et al." if others else first, " ".join(fields["title"].split())]
    parts += [fields[name] for name in ("note", "year") if name in fields]
    parts += [f"arXiv:{number}" for name, number in fields.items() if name == "eprint"]
    return ", ".join(parts)


def bibtex(keys: Iterable[str]) -> tuple[str, ...]:
    """Entries of [`BIBTEX`] in the order of their keys, each once."""
    return tuple(BIBTEX[key] for key in dict.fromkeys(keys))
