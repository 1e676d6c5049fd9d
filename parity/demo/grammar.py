"""The small Mandarin grammar behind the demo: numbers, dates, times, weather, commands, daily life.

Standard library only. `sentence(rng, kind)` draws one sentence of a kind as AISHELL writes it, words split
by spaces; a few commands hold an English word. All sentences are the project's own.
"""

from collections.abc import Callable
from random import Random

DIGITS = "零一二三四五六七八九"

WORDS = """
city: 北京 上海 广州 深圳 杭州 南京 成都 重庆 武汉 西安 天津 苏州 青岛 大连 昆明 长沙 厦门 海口
    沈阳 兰州
day: 今天 明天 后天 昨天 前天 周末 下周一 下周二 这周三 这周四 星期五 星期六 星期天
daypart: 早上 上午 中午 下午 傍晚 晚上 凌晨 夜里
sky: 晴 多云 阴天 小雨 中雨 大雨 雷阵雨 暴雨 小雪 大雪 大雾 沙尘 晴转多云 多云转阴 阴转小雨
    雨夹雪 冰雹
wind: 东风 南风 西风 北风 东南风 西北风 东北风 西南风
room: 客厅 卧室 厨房 书房 阳台 餐厅 浴室 车库 走廊 办公室 会议室 地下室
device: 灯 空调 电视 窗帘 风扇 音响 冰箱 洗衣机 加湿器 热水器 电脑 门锁 台灯 吸尘器 净化器 投影
switch: 打开 关闭 关掉 开启 重启 检查 暂停 启动
change: 调高 调低 加大 减小 增加 降低
person: 爸爸 妈妈 爷爷 奶奶 哥哥 姐姐 弟弟 妹妹 叔叔 老师 同学 医生 护士 司机 经理 同事 朋友 邻居
    小明 小红 老王 小李 他 她
place: 学校 公园 医院 超市 银行 机场 火车站 图书馆 电影院 博物馆 体育馆 动物园 邮局 酒店 商场 餐馆
    咖啡馆 公司 地铁站 菜市场 游泳馆 幼儿园 加油站 停车场 书店 药店 广场 海边 山上
activity: 开会 吃药 跑步 买菜 上课 接孩子 交作业 看电影 打篮球 踢足球 写报告 取快递 洗衣服 做饭 浇花
    睡觉 起床 喝水 遛狗 弹钢琴 画画 唱歌 跳舞 爬山 游泳 理发 体检 面试 还书 交电费
music: 音乐 民歌 京剧 相声 评书 新闻 故事 广播 古典音乐 摇滚乐 儿歌 钢琴曲 轻音乐 小说 天气预报
food: 米饭 面条 饺子 包子 馒头 豆腐 鸡蛋 牛肉 羊肉 红烧肉 烤鸭 火锅 青菜 白菜 土豆 西红柿 黄瓜
    苹果 香蕉 葡萄 西瓜 橘子 牛奶 绿茶 红茶 咖啡 果汁 面包 蛋糕 酸奶
thing: 这本书 那件衣服 这双鞋 一张门票 那台电脑 这部手机 一把雨伞 那辆自行车 这块手表 那个书包
    一支铅笔 这条裤子
color: 红色 黄色 蓝色 绿色 白色 黑色 紫色 灰色
vehicle: 火车 飞机 高铁 汽车 轮船 航班 地铁
feeling: 很高兴 有点累 非常忙 特别开心 不太舒服 很难过 有点紧张 非常满意 特别饿 很生气
"""

ENGLISH_PIECES = {
    "wifi": "wi@@ fi",
    "music": "mu@@ sic",
    "radio": "ra@@ dio",
    "email": "e@@ mail",
    "demo": "de@@ mo",
    "video": "vi@@ deo",
    "model": "mo@@ del",
    "hello": "hel@@ lo",
}

KINDS = """
digits: {digits} / 号码 是 {digits} / 密码 {digits} / 请 拨打 {digits} / 房间 号 {digits}
prices: {thing} {price} 元 / {thing} 卖 {price} 块 / 一共 {price} 元 / {food} 每斤 {count} 元
numbers: 百分之 {percent} / 比 去年 增加 百分之 {percent} / 还有 {count} 公里 到 {place} / 第 {count} 页
    / 一共 有 {price} 人 / 电量 还剩 百分之 {percent}
dates: {year} 年 {month} 月 {date} 日 / {month} 月 {date} 号 去 {city} / {day} 是 {month} 月 {date} 日
    / {person} 的 生日 是 {month} 月 {date} 号
times: 现在 {daypart} {clock} / {day} {daypart} {clock} {activity} / {daypart} {clock} 叫 我 {activity}
    / {vehicle} {clock} 出发 / {place} {daypart} {clock} 关门
weather: {city} {day} {sky} / {day} {sky} 气温 {degrees} 到 {degrees} 度 / {day} {city} 会 下雨 吗
    / {city} {day} {daypart} {sky} {wind} {level} 级 / {city} 现在 {degrees} 度
    / {day} {wind} {level} 级 出门 带伞
devices: {switch} {room} 的 {device} / 请 {switch} {device} / 把 {room} 的 {device} 关 了
    / 设定 {degrees} 度 / {change} {device} 的 音量 / 把 温度 {change} {level} 度 / {room} 的 {device} 坏 了
    / 把 灯光 换成 {color}
tasks: 提醒 我 {daypart} {activity} / {day} 和 {person} 一起 {activity} / 播放 {music} / 我 想 听 {music}
    / 打电话 给 {person} / 导航 到 {place} / {place} 怎么 走 / 告诉 {person} {clock} {activity}
    / 预订 {day} 去 {city} 的 {vehicle}
life: {person} 在 {place} {activity} / {person} 今天 {feeling} / 我们 去 {place} 吧 / {person} 喜欢 吃 {food}
    / 我 要 买 {food} 和 {food} / {person} 穿 {color} 的 衣服 / {thing} 是 {color} 的
    / 从 {city} 到 {city} 的 {vehicle} {clock} 出发 / {person} 给 {person} 买 了 {food}
    / {person} 坐 {vehicle} 去 {city}
english: 打开 {room} 的 wifi / 连接 {place} 的 wifi / 播放 {person} 喜欢 的 music / 在 {room} 播放 music
    / {daypart} 收听 radio / 关闭 {room} 的 radio / 给 {person} 发送 email / {day} {daypart} 查看 email
    / {day} 运行 demo / {place} 的 demo / 给 {person} 看 video / 录制 {place} 的 video
    / 下载 {color} 的 model / 把 model 发给 {person} / hello {person} / {daypart} 好 hello {person}
"""


def table(text: str, separator: str | None) -> dict[str, list[str]]:
    """The `name: value value ...` lines of `text`; an indented line goes on with the one above."""
    rows = (line.split(": ", 1) for line in text.strip().replace("\n    ", " ").splitlines())
    return {name: [value.strip() for value in values.split(separator)] for name, values in rows}


SLOTS = table(WORDS, None)
TEMPLATES = table(KINDS, "/")


def spell(number: int) -> str:
    """The Mandarin reading of 0..9999, e.g. 1005 -> 一千零五, 15 -> 十五."""
    if number == 0:
        return DIGITS[0]
    reading, gap = "", False
    for power, unit in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = number // power % 10
        if digit:
            reading += ("零" if gap and reading else "") + DIGITS[digit] + unit
            gap = False
        else:
            gap = bool(reading)
    return reading[1:] if reading.startswith("一十") else reading


def clock(rng: Random) -> str:
    """A time of day such as `三点 二十五分`."""
    hour = rng.choice(["两", *(spell(n) for n in range(1, 13) if n != 2)])
    minute = rng.choice(["", "半", "一刻", "整", *(f" {spell(n)}分" for n in (5, 10, *range(11, 60, 4)))])
    return f"{hour}点{minute}"


def digit_string(rng: Random, low: int, high: int) -> str:
    """Digits read one by one; one is `幺`, as on the telephone."""
    return "".join(rng.choice(DIGITS.replace("一", "幺")) for _ in range(rng.randint(low, high)))


def fill(template: str, rng: Random) -> str:
    """The template with every `{slot}` replaced by a random member of its class."""
    parts = template.split("{")
    out = parts[0]
    for part in parts[1:]:
        slot, rest = part.split("}", 1)
        out += (rng.choice(SLOTS[slot]) if slot in SLOTS else _quantity(slot, rng)) + rest
    return out


def _quantity(slot: str, rng: Random) -> str:
    """The value of a numeric slot."""
    makers: dict[str, Callable[[], str]] = {
        "clock": lambda: clock(rng),
        "degrees": lambda: spell(rng.randint(1, 40)),
        "level": lambda: spell(rng.randint(2, 9)),
        "percent": lambda: spell(rng.randint(1, 100)),
        "price": lambda: spell(rng.randint(2, 10 ** rng.randint(2, 4) - 1)),
        "count": lambda: spell(rng.randint(3, 99)),
        "month": lambda: spell(rng.randint(1, 12)),
        "date": lambda: spell(rng.randint(1, 31)),
        "year": lambda: rng.choice(["一九", "二零"]) + "".join(rng.choice(DIGITS) for _ in range(2)),
        "digits": lambda: digit_string(rng, 4, 8),
    }
    return makers[slot]()


def sentence(rng: Random, kind: str) -> str:
    """One sentence of `kind`, a key of TEMPLATES; words separated by single spaces."""
    return fill(rng.choice(TEMPLATES[kind]), rng)
