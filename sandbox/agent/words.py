"""Plain four-letter words, for names of files that a person can say and remember."""

from typing import Final

WORDS: Final[tuple[str, ...]] = tuple(
    """
    able acre also amid arch area army aunt away axis baby back bake ball band bank barn base bath bead beam
    bean bear beat beef bell belt bend best bike bind bird blue boat body bold bone book boot born both bowl
    brim bulb bulk bush busy cafe cage cake calf call calm camp cape card care cart case cash cast cave cell
    chef chin chip city clap claw clay clip club clue coal coat code coin cold comb cone cook cool cope copy
    cord core cork corn cost cove crab crew crop crow cube cups curl dale dark dash data date dawn days deal
    dear deck deed deep deer desk dial dice dine dish disk dock dome door dove down draw drum duck dune dusk
    dust duty each earn east easy echo edge else envy epic even ever exam exit face fact fair fall fame farm
    fast fawn feed feel fern film find fine fire firm fish five flag flat flax flow foal foam fold folk font
    food foot fork form fort four fowl free frog fuel full fund gain gala game gate gaze gear germ gift give
    glad glow glue goal goat gold golf gong good gown grab gram gray grid grin grip grow gulf hail hair half
    hall hand harp have hawk heap hear heat helm help herb herd here hero high hike hill hint hive hold home
    hood hook hoop hope horn host hour huge hymn icon idea idle inch iris iron item jade jazz join joke july
    jump june jury just kale keel keen keep kelp kept kind king kite kiwi knee knit knob knot know lace lady
    lake lamb lamp land lane lark last late lava lawn lead leaf lean leap left lens life lift like lily lime
    line link lion list live loaf loan lobe loft logo long look loom loop loud luck lung lure lynx made mail
    main make malt many maps mare mark mask mast maze meal mean meet melt memo menu mesh mild mile milk mill
    mind mine mint mist moat mode mole moon moor more moss most moth move much mule muse must myth nail name
    navy near neat neck need nest news next nice nine node noon norm nose note noun oath obey oboe odds okay
    once only onto open oral oval oven over pace pack page paid pail pair palm park part pass past path pave
    peak pear peel pier pile pine pink pint pipe plan play plot plow plum plus poem poet pole polo pond pony
    pool port pose post pour pull pump pure push quay quiz race rack raft rail rain ramp rare rate read real
    reed reef rely rest rice rich ride ring rise road roam robe rock role roll roof room root rope rose ruby
    rule rush sage sail salt same sand save scan seal seat seed seek self sell send ship shoe shop show side
    sign silk sing site size skip slim slow snow soap sock soda sofa soft soil solo some song soon sort soup
    spin spot star stay stem step stir stop such suit sure surf swan swim tail take tale talk tall tame tape
    task taxi team tell tent term test text than then tide tile time tint tiny toad toes tone tool torn tour
    town trap tray tree trim trio trip true tube tuna tune turn twig twin type unit upon urge user vale vase
    vast veil verb very vest view vine visa void vote wade wage wait wake walk wall want warm wash wave weak
    wear weed week well went west what when whip wide wild wind wing wink wire wise wish wolf wood wool word
    work worm wrap yard yarn year yoga zero zinc zone zoom
    """.split()  # noqa: SIM905 - as text it reads and edits far better than as a list
)
