"""Stage 1 as MONAI transforms, in array and dictionary form."""

from frerec.shr.array import ImposeProfile, StatisticalHighFrequencyReplacement
from frerec.shr.dictionary import ImposeProfiled, StatisticalHighFrequencyReplacementd

__all__ = [
    "ImposeProfile",
    "ImposeProfiled",
    "StatisticalHighFrequencyReplacement",
    "StatisticalHighFrequencyReplacementd",
]
