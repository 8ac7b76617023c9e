#!/bin/sh
# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# libxml2's own tests of its functions, and its tools on ordinary documents: what these say under the livepatch is what
# they say without it. (Debian's source lacks most documents of the larger tests.)
set -e
cd builddir/main
make testapi testdict testchar
for test in testdict testchar testapi; do
    ./$test
done

# Without the gate nothing is patched.
both() {
    env -u LD_PRELOAD -u ULP_TEST_GATE "$@" >plain.out 2>&1 && plain=0 || plain=$?
    "$@" >patched.out 2>&1 && patched=0 || patched=$?
    test "$plain" = "$patched"
    cmp plain.out patched.out
}

mkdir -p own
cat >own/part.xml <<'END'
<part id="p1"><name>bolt</name><count>3</count></part>
END
cat >own/all.xml <<'END'
<!DOCTYPE list [
<!ELEMENT list ANY>
<!ELEMENT item (#PCDATA|sub)*>
<!ATTLIST item id ID #IMPLIED kind CDATA "plain">
<!ELEMENT sub EMPTY>
<!ENTITY name "value &inner;">
<!ENTITY inner "<sub/>">
]>
<list xmlns:x="urn:x" xmlns:xi="http://www.w3.org/2001/XInclude"><item id="a">&name;</item><item x:y="1">&lt;&#233;</item>
<xi:include href="part.xml"/><xi:include href="none.xml"><xi:fallback><none/></xi:fallback></xi:include></list>
END
cat >own/part.xsd <<'END'
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="part"><xs:complexType><xs:sequence>
<xs:element name="name" type="xs:string"/><xs:element name="count" type="small" maxOccurs="2"/></xs:sequence>
<xs:attribute name="id" type="xs:ID" use="required"/></xs:complexType><xs:key name="k"><xs:selector xpath="name"/>
<xs:field xpath="."/></xs:key></xs:element><xs:simpleType name="small"><xs:restriction base="xs:int">
<xs:maxInclusive value="9"/></xs:restriction></xs:simpleType></xs:schema>
END
cat >own/part.rng <<'END'
<element name="part" xmlns="http://relaxng.org/ns/structure/1.0"
datatypeLibrary="http://www.w3.org/2001/XMLSchema-datatypes"><attribute name="id"><data type="ID"/></attribute>
<interleave><element name="count"><choice><value>3</value><value>4</value></choice></element><element name="name"><text/>
</element></interleave></element>
END
cat >own/part.sch <<'END'
<schema xmlns="http://purl.oclc.org/dsdl/schematron"><pattern><rule context="part"><assert test="count &gt; 2">few</assert>
<report test="count = 3">three of <name path="name"/></report></rule></pattern></schema>
END
sed 's/3/30/' own/part.xml >own/wrong.xml
printf -- '-- catalog --\nPUBLIC "-//A//B" "b.dtd"\nSYSTEM "c" "c.dtd"\nCATALOG "more.cat"\nDELEGATE "-//D" "d"\n' >own/all.cat
printf 'PUBLIC "-//M//N" "n.dtd"\n' >own/more.cat
cat >own/catalog.xml <<'END'
<catalog xmlns="urn:oasis:names:tc:entity:xmlns:xml:catalog"><public publicId="-//A//B" uri="b.dtd"/>
<rewriteSystem systemIdStartString="http://a/" rewritePrefix="file:///a/"/><group><uri name="u" uri="v"/></group>
<nextCatalog catalog="none.xml"/></catalog>
END
for how in '' --noent --valid --xinclude --c14n --exc-c14n '--format --nsclean' --stream '--stream --valid' --push --sax \
    --sax1 --walker --copy --debug '--recover --dropdtd' --html '--html --push' '--html --xmlout' --huge --compact; do
    # shellcheck disable=SC2086
    both ./xmllint $how own/all.xml
done
for document in own/part.xml own/wrong.xml own/all.xml; do
    for how in "--schema own/part.xsd" "--relaxng own/part.rng" "--schematron own/part.sch" \
        "--stream --relaxng own/part.rng" "--pattern /part/name --stream" "--xpath //@*|//text()"; do
        # shellcheck disable=SC2086
        both ./xmllint $how $document
    done
done
printf 'cd part\nls\ndu\ncat name\nxpath count+1\nsetns a=urn:a\npwd\nwhereis name\nset <a/>\ndir\nbye\n' >own/commands
both sh -c './xmllint --shell own/part.xml <own/commands'
both ./xmlcatalog --sgml own/all.cat '-//M//N' c '-//D//E'
both ./xmlcatalog own/catalog.xml '-//A//B' http://a/b u none
