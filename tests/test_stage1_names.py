"""Recognition measured on track names as engineers, labels and programs write them.

``DEVELOPED`` was written before the vocabulary was extended and then served to extend it;
``FRESH`` was written afterwards and measured once before anything was changed for it.
"""

import pytest

from pipeline.roles import SUBGROUP_OF, Role
from stage1.names import read_name
from stage1.subgroups import Recognition, recognise

# By role; "a|b" where a listener could fairly say both. A slash makes folders.
DEVELOPED = {
    "kick": """
        BD; K in; K out; Kik; Kik Out_03; 01_KickIn; KickOut.01; KD in; K1ck; kick__in;
        KickIN_D6; Kick D112_01-01; Kick Beta52 -take2; Kick B91 comp; Kick NS10 sub; NS10
        Sub Kick; Kick RE20; Kck Trg; Kick Trigger 48k24b; BDin; BD_out_U47fet; Kick 4x4;
        Kick 120bpm; KickLayer2; Punchy Kick Gm; TR-909 Kick; 808 Kik; LinnDrum Kick; MPC
        Kick; grosse caisse dedans; Grosse Caisse dessous; Bombo dentro; bumbo fora; Große
        Trommel; Cassa in D112; Kick-cm; Pad kick; 3-Kick; Drums/Kick In.L; 01
        Drums/Close/KD in; Kick Drum (Bounce); KICK IN.wav.1; Kick_Sub_SKRM; Speakerkick;
        Kick PZM; Kick Clicky; BassDrum_Room; kickdrum glued; KICK_ST_01; Kick_v3 FINAL;
        Kick 💥; ＫＩＣＫ; KiK_Inn; Kicks; Kick Drm; Bass Drum Beater; Kickk
    """,
    "snare": """
        SN; SD; SN T; SN B; Sn Bot; snaretop57; SnareTop_01-01; SNR_BTM_e604; Snare Top
        SM57_02; Sn.Top; SD Top MD441; SnrUp; SnrDn; Snare Side; Snare Smpl 3; Rim;
        Rimshots; Side Stick; Sidestick loop; X-stick; xstk; Cross-Stick; Snare Brush;
        Caisse Claire dessus; caisse claire dessous; Caja; Caja abajo; rullante sopra;
        Rullante sotto; Caixa; caixa esteira; Kleine Trommel oben; Snare unten; Snare Drum
        57; Snare Plate; Snare Verb Print; S Top; SnT; Sn Bttm; 909 Snare; Snr Layer; Trap
        Snare; Rim 808; Snair; Snare_Top-KM184; Snare Roll; Piccolo Snare; Snare 2 (Aux);
        Snare Bot Ø; Drums/SN Top
    """,
    "clap": """
        Clap; Claps_03; Hand Clap; Clp; 909 Clap; Clap Stack L; Palmas; Clap Layer 2;
        Klatscher
    """,
    "snare|clap": """
        Snap Clap Snare; Clap Snare
    """,
    "tom": """
        Tom; Toms; T1; T2 421; Tom 1 e604; Tom Lo; RT; FT; Flr Tom; Floor; FloorTom_01;
        Rack; Rack 1; Rack Tom MD421; Low Toms; Hi-Tom; Tom3 Smpl; Toms Bus; Hängetom;
        Standtom 2; Tom basse; Tom médium; tom chao; Surdo chão; Timbalão; Tom sol; Tom de
        piso; timbales tom; TomFlr; Tom1.L; Tom_Rack.2; Roto Toms; Concert Toms; Timpano;
        808 Toms; Toms L; tom.03
    """,
    "hi_hat": """
        HH; HiHat_03; Hat; Hats; HHt; H.H.; Hi Hat KM184; Charley; Charleston; Chimbal;
        Hats 16th; Closed Hats; OpHat; Open HH; CH; OH Hat; Hi-Hats Loop; HHat;
        Contratempo; Hat Loop 128; 808 HH; HH_edit; Hihat Spot; Ride Hat; HatTop; 909 Open
        Hat; HiHat.dup1; hh.2; Hihatt
    """,
    "cymbal": """
        Ride; Rd; Crash 1; Crsh; China; Splash; Cym; Cymbals; Ride Bell; Ride Loop; Crash
        R; Becken; Beckn; Piatti; Platillos; Pratos; Cymbale; Cymb L; RideCym KM184; Susp
        Cym; 909 Ride; Piatto Ride; Suspended Cymbal
    """,
    "overhead": """
        OH; OHL; OH.L; OH_R; Ovhds; OverheadL; OH Stereo; Overheads XY; OH Coles 4038; Ovr
        L; Over R; Overhd; Drum OHs; Kit OH L; OH Mono; Aéreos; Over caixa; Panoramici;
        Panoramicas; OHs (Stereo); OHead L; Glyn Johns Side; Overheads-bip; Overs; OVH 1;
        OH U87 L; Overheads.dup1; 08_Overheads; Overheadz; Oberheads
    """,
    "room": """
        Room; Rm; Rms; Room L; Room R; RoomFar; Drum Room; Room Mono Crush; Mono Room;
        Room U47; Rm_Far.L; Drums Ambience; Room R88; Raum; Raummikro links; Sala L;
        Stanza; Amb Drums; Room PZM; Rooms; Drum Rm; Kit Room; Crush; Trash Mic; Knee;
        DrumAmb; Ambience Drums; Rm Mid; RMS; Hallway Drums
    """,
    "drum_kit": """
        Drums; Drum Loop; Drum Loop 120bpm Gm; DRM; Drms; Drumz; Drum Bus; Drum Mix; Kit;
        Beat; Beats; Loop Drums; Breakbeat; Amen Break; Schlagzeug; Schlagz.; Batterie;
        Batería; Bateria; batteria; bateria eletronica; Drumkit St; Drum Machine;
        LinnDrum; MPC Beat; SP1200 Beat; TR-808; 909 Loop; E-Drums; Drums_stem; Drum
        Group; drums.flac; Drums (Stereo); Top Loop; Tops; Drum Submix; Drums Wet; Drum
        Fill; Drum Verb; Parallel Drums; Drum Crush Bus; Drum Comp; NY Drums; Trommeln;
        Electronic Drums; Live Drums; Elec Drums; Trap Kit; DrumLoop_01-cm; Drums All;
        Glitch Beat
    """,
    "percussion": """
        Perc; Perc_03; Prc; Percs; Conga; Congas L; Cnga; Quinto; Tumba; Bongo; Bongos;
        Djembe; Cajon; Cajón; Timbales; Timbs; Timp; Timpani; Pauken; Timbales françaises;
        Triangle; Tri; Cowbell; CB perc; Guiro; Claves; Woodblock; WB; Udu; Tabla; Surdo;
        Pandeiro; Cuica; Zabumba; Darbuka; Darabuka; Frame Drum; Taiko; Taikos Low; Perc
        Loop; PercLoop_2; Percussion St; Percu; Perkussion; Percusión; percussões; Sleigh
        Bells; Wind Chimes; Chimes; Mark Tree; Gong; Tam-tam; Snaps; Finger Snaps; Stomps;
        Stomp Clap; Steel Drum; Steelpan; Triangolo; Triangel; Castañuelas; Hand Drums;
        Bells; 3m12_PERC_HI; Vibraslap; Agogô; Berimbau; Atabaque; Congas 2-take2; Perc
        Bus; Toys; Metal Perc; Ethnic Perc; Epic Drums
    """,
    "percussion|kick": """
        Gran Cassa; Bass Drum orch; Stomp; Orch BD
    """,
    "percussion|drum_kit": """
        Epic Perc; Hybrid Drums; Perc Drums
    """,
    "shaker": """
        Shaker; Shkr; Shk_03; Shakers L; Maraca; Maracas; Cabasa; Caxixi; Egg; Shaker Loop
        16ths; Ganzá; Shakr; Shekere; Ganza; Shaker-take2; Chocalho; Shak
    """,
    "tambourine": """
        Tamb; Tambo; Tambourine; Tmb; Tamb 2; Tambs; Pandereta; Schellenkranz; Tambourin;
        Tamburello; Tamburin; Tambourine-01; Tamborine; Pandeirola; Tambo DBL
    """,
    "bass": """
        Bass; Bs; Bass DI; BassDI_03; Bs DI; Bass Amp; Bass Cab; Bass SVT; Bass Ampeg;
        b4ss; Bass Gtr; Bass Guitar; Bass RE20; Bass D112; E-Bass; EBass DI; Elec Bass;
        P-Bass; PBass DI; JBass; Jazz Bass; Precision; Fretless; Slap Bass; Bass Slap;
        Bass Fuzz; Bass Dist; Bass Sansamp; Bass Darkglass; Bass Kemper; Basse; Basse
        élec; Bajo; Bajo DI; Basso; Basso elettrico; Baixo; Bass B15; Bass 2; Bass Comp;
        BASS-cm; Bass.dup1; Bass_01-01; 10 Bass (Mono); Basse DI; Bassgitarre; Bass mic;
        Bass dry; Bass line; Bassline; Bass Avalon; Rickenbacker Bass; Hofner Bass; Ric
        Bass; Bass Pick; Bass Overdub; Bass Chorus; BassVerse; Bass Chords; Musicman Bass;
        5 String Bass; Baß; E-Baß DI; Bas; Bass Track 5 #02; Bass DI + Amp
    """,
    "bass|synth_bass": """
        Bass Layer; Low Bass; Growl Bass; Serum Bass
    """,
    "synth_bass": """
        Synth Bass; SynBass; Sub; Sub Bass; SubBass_01; 808 Bass; 808 Sub; Moog Bass;
        Minimoog Bass; Reese; Reese Mid; Acid 303; TB-303; Bass Synth; SH101 Bass; Juno
        Bass; Massive Bass; Key Bass; Keys Bass; Wobble; Bass Wobble; Neuro Bass; Sy Bass;
        SBass; Synth Bass Sub; Mid Bass; Bass Moog Voyager; Operator Bass; Basso synth;
        Bajo synth; Synthbass Lead; Taurus
    """,
    "double_bass": """
        Upright Bass; Double Bass; Dbl Bass; DB; Cb; Contrabass; Kontrabass; Contrebasse;
        Contrabbasso; Contrabajo; Contrabaixo; Upright DI; URB; Uprt Bass; String Bass;
        Acoustic Bass; Ac Bass; Kontrabaß; D.Bass; Upright Bass Neck KM84; Bass Stand-up
        Bass
    """,
    "electric_guitar": """
        Gtr; Gtr L; Gtr.L; gtr__L; GtrDI; Gtr DI 2; EGtr; E Gtr 1; EG1; EG 2 L; Elec Gtr;
        ElecGtr1DI; elecgtrclean; Elec Gtr Dist R; Gtr 57; Gtr R121; Gtr_e609; Gtr MD421;
        Gtr AC30; Gtr Vox AC30; Vox Amp; Gtr Marshall; Gtr Fender Twin; Gtr JC120; Mesa
        Gtr L; Gtr Kemper; AxeFx Gtr; Helix Gtr R; Gtr Rhy L; Rhythm L; Rhythm Gtr Dbl;
        RGtr L; Rhy Gtr; GtrHvyL; Gtr Clean; Gtr Crunch; Dist Gtr; Crunch L; 03-gtr-glued;
        Gtr_v3 FINAL; gtr_DI_48k24b; Gitarre; Git; E-Git; E-Git links; Gitarre rechts;
        Gitarren; Guitare; Guitare élec; Guitarra; Guitarra eléctrica; Chitarra; Chitarra
        elettrica; Chit El; Ch. elettrica; Guitarra elétrica; Strat; Tele; Les Paul; LP
        Gtr; Gtr Wah; Gtr Slide; Pedal Steel; Lap Steel; PSteel; Steel; Bari Gtr; 12 str
        Elec; Gtr Chug; Quad 1 L; Chugs; Palm Mutes; Powerchords; Gtr FX; Gtr Swells; Gtr
        Arps; Gtr Melody; Gtr Octave; Gtr Hook; Riff; Riffs L; Guit Stereo; Gutiar; Guitar
        Vox AC30; Gtr Track 5 #02; Guitars bus; Gtrs; Funk Gtr; Guitar Verb; Muted Gtr;
        Gtr Harm; Twang Gtr; Gtr 1 Amp; Gtr 1 Mic 2; gtr_chorus; Gtr Bridge;
        Gtr-Twin-R121.02; Ebow; Gtr EBow; Gretsch
    """,
    "electric_guitar|synth": """
        Gtr Synth; Guitar Synth; Synth Guitar
    """,
    "lead_guitar": """
        Lead Gtr; LdGtr; Ld Gtr 2; Gtr Lead; Gtr Solo; Solo Gtr; Guitar Solo Dbl; Lead
        Guitar 57; LGtr; Leadgitarre; Solo Gitarre; Guitare solo; Guitarra solista;
        Chitarra solista; Gtr_Lead-take2; Lead Gtr Harm; Gtr Ld DBL; Lead GTR Slide
    """,
    "acoustic_guitar": """
        Ac Gtr; AcGtr_03; Aco; AG; AG1; AGtr; A Gtr DI; Acoustic; Acoustic L; Acou Gtr;
        Acst Gtr; Acous; Ac Gtr KM184; Ac.Gtr Neck; Acoustic 12; 12 String; 12str; Nylon;
        Nylon Str; Classical Gtr; Violão; violao aco; Violao nylon; Akustikgitarre; A-Git;
        Westerngitarre; Konzertgitarre; Guitare sèche; Guitare ac; Guitarra acústica;
        Guitarra española; Guitarra criolla; Chitarra acustica; Chit Ac; Chitarra
        classica; Dobro; Resonator; AcousticGtrDbl; Ac Strum; Ac Fingerpick; Taylor;
        Martin D28; Gibson J45; Acoustic DI; Ac 1 L; acoustic guitar XY L; Acoustics;
        Steel String; Strummy Ac; AcGt; Ac Guit; Acgtr Hi Strung; Nashville Gtr
    """,
    "plucked": """
        Banjo; Bjo; Mando; Mandolin; Mandoline; Uke; Ukulele 2; Harp; Harfe; Arpa; Harpe;
        Sitar; Oud; Bouzouki; Cavaquinho; Cavaco; Charango; Koto; Dulcimer; Bandolim;
        Guitalele; Cuatro; Mandola; Hrp; Viola caipira; Banjo-take2; Dobro Banjo; Zither;
        Autoharp; Lute; Tres; Kora
    """,
    "piano": """
        Piano; Pno; Pno L; Piano Hi; Piano Low C414; Grand; Grand Piano; Upright Piano;
        UpPno; Klavier; Klavier oben; Flügel; Piano à queue; Piano droit; Pianoforte;
        Piano_01-01; Piano verb return; Piano Verb; Felt Piano; Steinway; Piano DI; Piano
        Room; Piano XY; Piano.dup2; Piano MIDI; Pianno; Piano Hammers; Piano Under; Nord
        Piano; Piano Bass; Piano LH; Piano Chords; House Piano; M1 Piano; PNO_comp; Gr
        Pno; Honky Tonk; Tack Pno; Kontakt Piano; Keyscape Piano; Piano Solo
    """,
    "electric_piano": """
        Rhodes; Rhds; Wurli; Wurly; Wurlitzer; Wurly Amp; EP; E.P.; E-Piano; EPno; Elec
        Piano; Clav; Clavinet; D6 Clav; Clavinet D6; CP80; CP-70; Rhodes Amp L; Wurli DI;
        Pianet; Fender Rhodes; DX EP; Suitcase; Rodes; Piano électrique; Piano elettrico;
        Wurlizer; Mk1 Rhodes; Rhodes Chorus
    """,
    "organ": """
        Organ; Org; Org Hi; B3; B3 Hi; B3 Low; Hammond; Hammond B3 Leslie; Lslie; Leslie
        Top; Leslie Bot; Leslie Horn; Lesli Lo; Orgel; Orgue; Organo; Órgano; Órgão; Organ
        bass; Farfisa; Vox Continental; Church Organ; Pipe Organ; Kirchenorgel; Organ
        Lslie L; B-3; Hamond; Hmnd; C3; Pump Organ; Organ Drive; Organ_comp; Organ Rotary
    """,
    "keys": """
        Keys; Key; Keys 2; Kys; Keyboard; Kbd; Keyb; Kybd; Keyz; Tastiera; Tastiere;
        Teclado; Teclados; Clavier; Claviers; Tasten; Mellotron; Mello; M-Tron;
        Harpsichord; Hpschd; Cembalo; Accordion; Accordeon; Akkordeon; Accordéon;
        Fisarmonica; Acordeón; Sanfona; Melodica; Bandoneon; Keys Track 5; Nord; Nord
        Stage; Keys_v3; Nord Keys L; Chamberlin; Keyscape; Clavecin; Cravo; Keyboards;
        Concertina
    """,
    "mallet": """
        Vibes; Vibraphone; Vibraphon; Vib; Marimba; Xylo; Xylophone; Glock; Glockenspiel;
        Celesta; Celeste; Kalimba; Tubular Bells; Mallets; Music Box; Vibrafono; Marimba
        2; Glk; Xilofone; Tub Bells; Crotales
    """,
    "synth": """
        Synth; Syn; Synth 1 L; Synth_03; Syn 2; Snth; Juno; Juno 106; Juno60 L; Jupiter 8;
        Jup8; Prophet; Prophet 5; Prophet-6 Brass; Moog; Minimoog; Sub 37; Serum; Serum 2;
        Massive; Omnisphere; Omni; DX7; DX-7 bell; OB-6; OBXa; OB6 Poly; Virus; Virus TI;
        Operator; Sylenth; Sylenth1; Nexus; Kontakt; Diva; Microkorg; JP8000; MS20;
        SH-101; Oberheim; Matrix 6; PolySynth; Synth Stab; Stabs; Pluck; PLK; Plucks 2;
        Supersaw; Saw Chords; Chords; Synthé; Sintetizador; Sintetizzatore; Sint; Synthi;
        Modular; Synth Bell; Synth Brass; Synth Strings; String Machine; Solina; Insert 12
        Synth; Synth FX; Analog Synth; Wavetable; FM Bells; Theremin; Vocoder Synth; Synth
        Hook; Saw; Square Synth; Poly; Zebra; Hydrasynth; Peak; Monosynth; Blips; Synth
        Chords Bounce; synth_gliss; Chord Stab; Synth Poly -take2; Synts; Korg M1; Triton;
        Wavestation
    """,
    "synth_lead": """
        Lead Synth; Synth Lead; Syn Ld; Ld Syn; Saw Lead; Supersaw Lead; Moog Lead; Lead
        Moog Dbl; Lead Saw; Virus Lead; Lead; Nord Lead; Lead 1 Serum; Synth Solo;
        SynLead_2; Lead Pluck; Drop Lead; Leads
    """,
    "synth_pad": """
        Pad; Pads; Pad 2; Synth Pad; Juno Pad; Warm Pad; PadL; Choir Pad; Vox Pad; String
        Pad; Pad_01; Fläche; Nappe; Nappes; Dark Pad; Pad Swell; Tappeto; Pd; Omni Pad;
        Prophet Pad; Synth Atmo Pad; Keys Pad; Pad Strings; Drone
    """,
    "arpeggio": """
        Arp; Arps; Arp_120bpm; Synth Arp; Arpeggio; Seq; Seq 2; Sequence; Arp Juno;
        Arpegiator; Sequencer; Plk Arp; Arpége; Arpegio
    """,
    "violin": """
        Violin; Violin 1; Vln; Vln1; Vln 1a; Vl; Vl. I; VnI; Vn 2; Vlns; Violins; Violins
        II; V1; Geige; Geige 2; Violine; Violon; Violons 2; Violino; Violini; Violín;
        Fiddle; Fdl; Rabeca; 1st Vln; Violins 1 Close; Solo Vln; Vl2_spot; Violin DPA
        4099; Vln1 Desk 2; VLN1_LONG; Strings/V1; Viol 2; Vlin
    """,
    "viola": """
        Viola; Violas; Vla; Vle; Va; Bratsche; Bratschen; Alto vla; Vla 1; Viole; Viola
        DPA; Vlas_Spicc; Violas_Leg
    """,
    "cello": """
        Cello; Cello 2; Vc; Vcl; Vlc; Celli; Cellos; Violoncello; Violoncelle;
        Violonchelo; Violoncelo; Cello Spot; Vc_Pizz; Celo; Cello solo; Clli; VC1 Schoeps;
        Chello
    """,
    "strings": """
        Strings; Str; Strs; Strgs; Stgs; Strings L; STR_LONG; STR_SHORT; Hi Strings; Lo
        Strings; Streicher; Cordes; Cuerdas; Archi; Cordas; Quartet; String Qt; Str Qt;
        Orch; Orchestra; Orchester; Strings Main; Str Tree L; Strings Spicc; Spicc
        Strings; Pizz; Stg; Live Strings; 1m01_Strings Hi; Strings Room; Strings.dup1; Sec
        Archi; Cuerdas altas; Stringz; Violins+Violas; Kontakt Strings; Decca Tree
        Strings; Tutti Strings
    """,
    "trumpet": """
        Trumpet; Tpt; Trp; Tp 1; Trpt 2; Trmp; Trompete; Trompette; Tromba; Trompeta;
        Trompete 2; Flugel; Flugelhorn; Flgh; Cornet; Tpts; Trumpets; Trumpet RE20; Tpt
        Mute; Muted Trumpet; Piccolo Trumpet; Trumpt; Fliscorno
    """,
    "trombone": """
        Trombone; Tbn; Trb; Tbone; T-Bone; Bone; Bones; Posaune; Trombón; Trombones; Bass
        Trombone; Bs Tbn; B Tbn; Tromb; Trombne; Tbn 2 R121; Ten Tbn; Bass Tbn 3
    """,
    "horn": """
        Horn; Hn; Hn 1; Hrn; F Horn; Fr Hn; French Horn; Waldhorn; Trompa; Cor; Corno;
        Corni; Horn 1-2; Hns; Horn in F; Horn Solo; FHorns; Cors
    """,
    "tuba": """
        Tuba; Tba; Euphonium; Euph; Sousaphone; Sousa; Tuba RE20; Helicon; Cimbasso
    """,
    "brass": """
        Brass; Brs; Brass Lo; Brass Hi; Horns; Horn Sec; Horn Section; Hrns; Bläser;
        Blech; Cuivres; Metales; Ottoni; Metais; Brass Stabs; Brass_Short; BRS_LONG; Horns
        Dbl; Low Brass; Brass Swells; Vientos metales; Fiati; Naipe metais; Blechbläser;
        Horn Stabs; Brass Bus
    """,
    "saxophone": """
        Sax; Saxes; Alto Sax; A Sax; ASax; Tenor Sax; TSx; T.Sax; Ten Sax; Bari Sax; Sop
        Sax; Saxophone; Saxofón; Saxo; Sassofono; Saxofone; Sax Tenor 2; Sax Solo; AltSx;
        Bari Sx; Sax U87; Sx; Saxaphone; Saxos; Sax alto; Saxes Ttl; Alto Sx 1
    """,
    "flute": """
        Flute; Fl; Fl 1; Flt; Flute 2; Flutes; Flöte; Querflöte; Blockflöte; Flauta;
        Flauto; Flûte; Picc; Piccolo; Alto Fl; Recorder; Bansuri; Tin Whistle; Shakuhachi;
        Pan Flute; Flauta doce; Fl_Picc; Ney; Quena; Irish Flute
    """,
    "reed": """
        Clarinet; Clar; Cl; Cl 1; Clrt; Bass Clarinet; Bs Cl; B Cl; Klarinette;
        Clarinette; Clarinete; Clarinetto; Oboe; Ob; Ob 2; Hautbois; Oboé; Bassoon; Bsn;
        Fagott; Fagotto; Fagot; Basson; C. Bsn; EH; Eng Hn; Cor Anglais; English Horn;
        Harmonica; Harmo; Mundharmonika; Armónica; Gaita harmônica; Duduk; Blues Harp;
        Bass Cl 2; Bsns; Clars; Clarinet in A
    """,
    "woodwind": """
        WW; Woodwinds; Winds; WWs; Woods; Holz; Holzbläser; Bois; Legni; Maderas;
        Madeiras; Bagpipes; Low WW; Uilleann Pipes; Didgeridoo; Didg; WW Close; Woodwind
        Ens
    """,
    "lead_vocal": """
        Vox; Vx; Voc; Vocal; Vocals; LV; LVox; LdVox; Ld Vx; Lead Vox; Lead Vocal;
        LeadVoc_03; Lead-Vox; LEAD VOX COMP; v0x; Lead Voc Tuned; Main Vox; MainVox-take2;
        Lead Vox U47; Vox C414; Vox 251; Vox SM7B; Vox Comp FINAL; Vocal_01-01; Vox.dup1;
        Lead Vocal (Mono); LV Verse; Verse Vox; Vox Vrs; Chorus Lead Vox; Chorus LV; LV
        Bridge; Vox Bridge; Anna lead vox; Vox Anna; JohnVox; Gesang; Ges. Lead;
        Leadgesang; Stimme; Hauptstimme; Sänger; Voix; Voix lead; Voix principale; Chant;
        Chant lead; Voz; Voz lead; Voz principal; Voz guia; Voz 1; Voce; Voce principale;
        Voce lead; Canto; Cantante; Lead Singer; Singer; Rap; Rap 1; Rapper; MC; Room Vox;
        Vox Room; Scratch Vox; Guide Vox; Vox dry; Vox edit; Vox Melodyne; Vox Autotune;
        Female Vox; Male Lead Vox; Vocal Comp 48k24b; Vox Raw; Voxx; Vocls; LedVox;
        LaedVox; Acapella; Acappella; Lead Vox Clean; Lead Vox Up; Tom's vocal; Vocal Lead
        Dry; vocals.flac; Ld Vocal; LdVoc; Lead Vocal Print; VOX-glued; 🎤 Lead Vox;
        Lead_Vx_Cmp; Vokal; Vocal 120bpm Gm
    """,
    "lead_vocal|vocal_double|effect": """
        FX Vox; Vox FX; Vocal Verb; LV Delay; Vox Slap; Vox Throws; Vox Reverb Print; Lead
        Vox Distort; Vox Parallel; Vox Crush; LV Verb
    """,
    "lead_vocal|synth_lead": """
        Anna lead; Sarah Ld; Lead Mike
    """,
    "vocal_double": """
        Lead Vox Dbl; Lead Vox Double L; LV Dbl; Ld Vox Dbl; Lead-Vox_DBL; leadvoxdouble;
        LVDub; Vox Dbl R; Vox DT; Vocal Double; LeadVoxDT; Vox Doubler; Dbl Vox; Lead Vox
        OD; Gesang Dopplung; Voix doublage; Voz doblada; Voce doppia; Voz dobra; LV_DBL_2;
        Lead Dbl Vox; Vox Triple; Doubled Vox; Rap Dbl; Vox Dbls
    """,
    "backing_vocal": """
        BGV; BGV 1; BGVs; BGV_L; BV; BV 3; BVs Hi; BVox; BGVox; BG Vox; BGs; BkVox;
        BckVox; Bkg Vox; Backing Vox; Backing Vocals; Back Vox; Backups; Background;
        Background Vocals; Harm; Harmony; Harm Hi; Harmony Low; Vox Harm; HarmVox2; High
        Harm; Lo Harmony; Gang; Gang Vox; Gangs; Group Vox; Crowd Vox; Oohs; Ooh L; Ahs;
        Aahs R; Vox Oohs; Vox Ahs; Whoas; Hey; Heys; Adlib; Ad Libs; Ad-lib 2;
        BackingVox1; BackingVox2DT; BGV Stack; BGV Dbl L; BV Alto; BV Sop; BGV Tenor 2;
        Coros; Coros altos; Coro voz; Choeurs; Backings; Cori; Segunda voz; Voz 2 coro;
        Zweitstimme; Hintergrund; Hintergrundgesang; Chorgesang; Voix choeurs; Vox Stack;
        Vox Harms; Vocal Stack L; Bass Vox; BGV-take2; 3rd Harm; Harm 3rd; 5th Harm; BV
        comp; Shouts; Chants; BkGrnd Vox; Bkgd; BGV Room; BU Vox; BG 1; BG High;
        Harmonies; Harms L; Chorus BGV; BVs St; bvs_bounce; Vox BG 2; Lead BGV; Harmonie;
        2nd Voice; Low Harmony Dbl; BGVs.dup1; Screams BV; Call & Response Vox; Vocal
        harmonies; Backing Choir; Coristas; Segunda voce
    """,
    "choir|backing_vocal": """
        Choir; Choir L; Choir S; Choir Alto; Chor; Coro; Coral; Chœur; Gospel Choir;
        Kinderchor; Sopranos; Altos; Tenors; Choir Basses; Kids Choir; Chor links; Coro
        uomini; Choir ORTF; Chorale; Choir Tree
    """,
    "effect": """
        FX; FX 2; SFX; SFX1; EFX; Riser; Riser 3; Uplifter; Downlifter; Downlift; Sweep;
        Sweeps; Swell; Impact; Impacts; Impct; Boom; Whoosh; Noise; White Noise Riser;
        Noise FX; Rev Cym; Reverse Cymbal; Rev Crash; Reverse; Transition; Trans FX; Hit;
        Hits; Sub Drop; Explosion; Laser; Glitch; Effekte; Effets; Efectos; Effetti;
        Efeitos; Swoosh; Braam; Riser_128bpm; Reverb; Reverb Return; Delay Return; Verb 1;
        Plate; Hall Verb; Stinger; Foley; FOL; Downer; Build FX; Zap; Rise; Fall FX; Efx
        Vinyl; Sci-Fi FX; Drop FX
    """,
    "ambience|effect": """
        Ambience; Amb; Atmos; Atmo; Crowd; Audience; Aud L; Rain; Birds; Vinyl Crackle;
        Field Rec; Room Tone; Wind; Ocean; Applause; Public; Publikum; Publico; Pubblico;
        Atmosphere; Atmosphäre; Soundscape; Crackle; Texture FX; Nature Sounds
    """,
    "sample|effect": """
        Vox Chop; Vocal Chops 3; Vocal Chop L; Scratch; Scratches; DJ; DJ Scratch;
        Turntable; Sample; Samples; Sampler; Vox Sample; Loop; Loop 3; Smpl; Vinyl Sample;
        Stutter; One Shot
    """,
    "dialogue": """
        Dialogue; Dialog; DX; VO; VO 1; Voice Over; Voiceover; Narration; Narrator;
        Spoken; Spoken Word; Sprecher; Erzähler; Boom mic; Lav 1; Lav; Dial; Interview;
        Host; Guest Mic; Podcast Host; Voz en off; Locutor; Voix off; DIA; ADR; Speech
    """,
    "unknown": """
        Audio 1_03; Audio 01_07; Track 5 #02; Insert 12; Insert 3; 03; 24-Audio; Audio
        Track 2; Track07-01; Audio 12.L; New Recording 4; asdf; Untitled; rec_20230411;
        Bounce 2; Take 7; Mix; 2-track; Print; 2 Mix; Mixdown; Master; Stereo Out; Output
        1-2; Click; Guide; Clip 3; Region 4; Consolidated-01; Instrumental; In 5; Input 3;
        Channel 8; Ch 12; Bus 3; Aux 1; Stem 4; _; 2021-03-14 demo; MusicDelta_RAW_01_01;
        Empty; Unnamed; Inst 3; Rough Mix; Ref Mix; That one; Shorn; Untitled 1-cm; Idea
        4; Layer 2; Other; other; Accompaniment; Midi 4; Song 2 v3 FINAL; Files/Audio
        Files/007
    """,
}


def cases(table: dict[str, str]) -> list[tuple[str, str]]:
    return [
        (" ".join(name.split()), roles)
        for roles, names in table.items()
        for name in names.split(";")
        if name.strip()
    ]


def fits(record: Recognition, roles: str) -> bool:
    wanted = {SUBGROUP_OF[Role(role)].value for role in roles.split("|")}
    return record.subgroup in wanted


def measure(table: dict[str, str]) -> tuple[float, list[tuple[str, str, str, float]], list[str]]:
    """Return the share of right subgroups, what is wrong, and what of it is confident."""
    found = [(recognise([f"{name}.wav"])[0], roles) for name, roles in cases(table)]
    wrong = [
        (record.name, roles, record.role.value, record.confidence)
        for record, roles in found
        if not fits(record, roles)
    ]
    confident = [name for name, _, _, confidence in wrong if confidence >= 0.5]
    return 1 - len(wrong) / len(found), wrong, confident
