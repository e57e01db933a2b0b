"""The zoo: which networks `companion.studies.zoo.census` measures, fixed before anything was measured.

Of timm 1.0.31, the smallest member of every module that registers models: fewest parameters, counted on the meta
device, timm's own `test_…` toys left out. Of torchvision, every classifier of images, and the smallest of each family of
those of videos.

Convolutional is a network in which only convolutions, poolings, and reductions over the whole map (channel attention
included) mix positions; any other mixes them by attention, by layers over positions or by recurrence.
"""

from __future__ import annotations

from dataclasses import dataclass

_CONVOLUTIONAL = """
    byobnet:mobileone_s1 convmixer:convmixer_768_32 convnext:convnext_zepto_rms cspnet:cs3darknet_focus_s
    cspnext:cspnext_tiny densenet:densenet121 dla:dla46x_c dpn:dpn48b efficientnet:mobilenetv2_035
    fasternet:fasternet_t0 fastvit:fastvit_t8 focalnet:focalnet_tiny_srf ghostnet:ghostnet_050
    hardcorenas:hardcorenas_b hgnet:hgnetv2_b0 hrnet:hrnet_w18_small inception_next:inception_next_atto
    inception_resnet_v2:ens_adv_inception_resnet_v2 inception_v3:adv_inception_v3 inception_v4:inception_v4
    lcnetv2:lcnetv2_small mambaout:mambaout_femto metaformer:poolformerv2_s12 mobilenetv3:mobilenetv3_small_050
    nasnet:nasnetalarge nfnet:nf_regnet_b0 pnasnet:pnasnet5large rdnet:rdnet_tiny regnet:regnetx_002
    repghost:repghostnet_050 repvit:repvit_m1 res2net:res2next50 resnest:resnest14d resnet:resnet10t
    resnetv2:resnetv2_18 rexnet:rexnet_100 selecsls:selecsls42 senet:legacy_seresnet18 sknet:skresnet18
    starnet:starnet_s050 tresnet:tresnet_m vgg:vgg11 vovnet:ese_vovnet19b_slim_dw xception:legacy_xception
    xception_aligned:xception41p
"""
_OTHER = """
    beit:beit_base_patch16_224 byoanet:halonet_h1 cait:cait_xxs24_224 coat:coat_tiny convit:convit_tiny
    cpubone:cpubone_nano crossvit:crossvit_tiny_240 csatv2:csatv2 davit:davit_tiny
    deepseek_vit:deepseek_vit_412m deit:deit_tiny_patch16_224 edgenext:edgenext_xx_small
    efficientformer:efficientformer_l1 efficientformer_v2:efficientformerv2_s0 efficientvim:efficientvim_m1
    efficientvit_mit:efficientvit_b0 efficientvit_msra:efficientvit_m0 eva:vit_tiny_patch16_dinov3_qkvb
    gcvit:gcvit_xxtiny gemma4_vit:gemma4_vit_167m hiera:hiera_tiny_224 hieradet_sam2:sam2_hiera_tiny
    iformer:iformer_t levit:levit_128s lowformer:lowformer_b0 maxxvit:maxvit_pico_rw_256 mlp_mixer:gmlp_ti16_224
    mobilenetv5:mobilenetv5_base mobilevit:mobilevit_xxs mvitv2:mvitv2_tiny
    naflexvit:naflexvit_base_patch16_parfac_gap nest:jx_nest_tiny nextvit:nextvit_small pit:pit_ti_224
    pvt_v2:pvt_v2_b0 qwen3_vit:qwen3_vit_88m sequencer:sequencer2d_s shvit:shvit_s1 swiftformer:swiftformer_xs
    swin_transformer:swin_tiny_patch4_window7_224 swin_transformer_v2:swinv2_tiny_window16_256
    swin_transformer_v2_cr:swinv2_cr_tiny_224 tiny_vit:tiny_vit_5m_224 tnt:tnt_s_legacy_patch16_224
    twins:twins_svt_small visformer:visformer_tiny vision_transformer:vit_tiny_patch16_224
    vision_transformer_hybrid:vit_tiny_r_s16_p8_224 vision_transformer_relpos:vit_srelpos_small_patch16_224
    vision_transformer_sam:samvit_base_patch16_224 vitamin:vitamin_small_224 volo:volo_d1_224
    xcit:xcit_nano_12_p8_224
"""

# Families of torchvision's classifiers, by the beginning of their names.
_TORCHVISION_OTHER = ("maxvit", "swin", "vit")
TORCHVISION_FAMILIES = (
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "efficientnet_v2_s",
    "googlenet",
    "inception_v3",
    "maxvit_t",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "regnet_x_400mf",
    "regnet_y_400mf",
    "resnet18",
    "resnext50_32x4d",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "swin_t",
    "swin_v2_t",
    "vgg11",
    "vit_b_32",
    "wide_resnet50_2",
)  # the smallest member of each

VIDEO = "torchvision.video"  # as a library: its networks take (B, C, T, H, W)
_VIDEO = {"resnet": ("r3d_18", "mc3_18", "r2plus1d_18"), "s3d": ("s3d",), "swin_transformer": ("swin3d_t",), "mvit": ("mvit_v1_b", "mvit_v2_s")}  # fmt: skip


@dataclass(frozen=True)
class Member:
    """One network of the zoo: where it comes from, the module that registers it, its name and its kind."""

    library: str
    module: str
    model: str
    kind: str


def timm_members() -> list[Member]:
    """The smallest member of each of timm's 98 modules."""
    pairs = [
        (pair.split(":"), kind)
        for text, kind in ((_CONVOLUTIONAL, "convolutional"), (_OTHER, "other"))
        for pair in text.split()
    ]
    return [Member("timm", module, model, kind) for (module, model), kind in sorted(pairs)]


def torchvision_members(every: bool = True) -> list[Member]:
    """Torchvision's classifiers: every one, or the smallest of each family."""
    import torchvision

    names = torchvision.models.list_models(module=torchvision.models) if every else TORCHVISION_FAMILIES
    module = {name: torchvision.models.get_model_builder(name).__module__.rpartition(".")[2] for name in names}
    kind = {name: "other" if name.startswith(_TORCHVISION_OTHER) else "convolutional" for name in names}
    return [Member("torchvision", module[name], name, kind[name]) for name in names]


def video_members() -> list[Member]:
    """Torchvision's classifiers of videos: the three ResNets, and the smallest of each other kind."""
    kind = {"resnet": "convolutional", "s3d": "convolutional"}
    return [Member(VIDEO, f"video.{m}", name, kind.get(m, "other")) for m, names in _VIDEO.items() for name in names]
